/* Is this a region, and whose? Pure: shared by the interposer and by the reader for Python. */
#include <string.h>

#include "region_file.h"

static int is_text(const char *text, size_t length)
{
	return text[0] != '\0' && memchr(text, '\0', length) != NULL;
}

static int is_of(const struct vgpu_region *region, const struct vgpu_limits *limits)
{
	if (strcmp(region->header.grant, limits->grant) != 0 || region->header.device_count != limits->device_count)
		return 0;
	for (uint32_t i = 0; i < limits->device_count; i++)
		if (strcmp(region->devices[i].uuid, limits->devices[i].uuid) != 0)
			return 0;
	return 1;
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
	return limits && !is_of(region, limits) ? "it belongs to another grant" : NULL;
}
