/* Is this a region, and whose? Pure: shared by the interposer and by the reader for Python. */
#include <string.h>
#include <strings.h>

#include "region_file.h"

static int is_text(const char *text, size_t length)
{
	return text[0] != '\0' && memchr(text, '\0', length) != NULL;
}

int vgpu_region_place(const struct vgpu_region *region, const struct vgpu_limits_device *device)
{
	for (uint32_t i = 0; i < region->header.device_count; i++)
		if (strcasecmp(region->devices[i].uuid, device->uuid) == 0)	/* hexadecimal digits of either case */
			return (int)i;
	return -1;
}

static const char *fault_of_owner(const struct vgpu_region *region, const struct vgpu_limits *limits)
{
	if (strcmp(region->header.grant, limits->grant) != 0)
		return "it belongs to another grant";
	for (uint32_t i = 0; i < limits->device_count; i++)
		if (vgpu_region_place(region, &limits->devices[i]) < 0)
			return "its devices are not those of the limits file";
	return region->header.device_count == limits->device_count ? NULL : "its devices are not those of the limits file";
}

const char *vgpu_region_fault(const struct vgpu_region *region, size_t size, const struct vgpu_limits *limits)
{
	const struct vgpu_region_header *header = &region->header;

	if (size != VGPU_REGION_SIZE)
		return "its size is not that of a region";
	if (header->magic != VGPU_REGION_MAGIC)
		return "it does not begin as a region";
	if (header->version != VGPU_REGION_VERSION)
		return "its layout has another version";
	if (header->size != VGPU_REGION_SIZE || header->checksum != vgpu_layout_checksum())
		return "its layout is another build's";
	if (header->device_count < 1 || header->device_count > VGPU_MAX_DEVICES || !is_text(header->grant, VGPU_GRANT_LENGTH))
		return "its header is damaged";
	for (uint32_t i = 0; i < header->device_count; i++)
		if (!is_text(region->devices[i].uuid, VGPU_UUID_LENGTH))
			return "a device in it has no uuid";
	return limits ? fault_of_owner(region, limits) : NULL;
}
