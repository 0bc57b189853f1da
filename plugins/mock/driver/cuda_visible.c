/*
 * libcuda: which devices a process sees, and in which order, as CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER say.
 *
 * As documented: a list of indices or of "GPU-<uuid>" in their shortest unambiguous form, separated by commas; the first entry that is no device
 * ends the list, and those before it count. An entry that is named twice leaves no device at all. Order is the machine's own (by PCI bus) with
 * PCI_BUS_ID, else fastest first: here by cores and clock, ties as the bus has them. A list that is set and empty hides all.
 */
#include "cuda_driver.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

CUdevice device_at(unsigned index)
{
	for (unsigned device = 0; device < driver.devices; device++)
		if (driver.index[device] == index)
			return (CUdevice)device;
	return -1;
}

static uint64_t speed_of(unsigned index)
{
	const struct mock_chip *chip = &driver.state->facts.chip[index];

	return (uint64_t)chip->cores * chip->clock_graphics_mhz;
}

static uint64_t place_of(unsigned index)
{
	const struct mock_chip *chip = &driver.state->facts.chip[index];

	return (uint64_t)chip->pci_domain << 32 | chip->pci_bus << 8 | chip->pci_slot;
}

static bool goes_before(unsigned a, unsigned b, bool by_bus)
{
	if (!by_bus && speed_of(a) != speed_of(b))
		return speed_of(a) > speed_of(b);
	return place_of(a) < place_of(b);
}

/* All devices, in order. */
static unsigned enumerate(uint8_t order[STATE_DEVICES])
{
	const char *wanted = getenv("CUDA_DEVICE_ORDER");
	bool by_bus = wanted && strcmp(wanted, "PCI_BUS_ID") == 0;
	unsigned chips = driver.state->facts.chips;

	for (unsigned index = 0; index < chips; index++) {
		unsigned at = index;

		for (; at && goes_before(index, order[at - 1], by_bus); at--)
			order[at] = order[at - 1];
		order[at] = (uint8_t)index;
	}
	return chips;
}

static void uuid_text(unsigned index, char text[41])
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *uuid = driver.state->facts.chip[index].uuid;
	char *at = text;

	memcpy(at, "GPU-", 4);
	at += 4;
	for (int byte = 0; byte < 16; byte++) {
		if (byte == 4 || byte == 6 || byte == 8 || byte == 10)
			*at++ = '-';
		*at++ = digits[uuid[byte] >> 4];
		*at++ = digits[uuid[byte] & 15];
	}
	*at = '\0';
}

static bool starts_with(const char *text, const char *word, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (!text[i] || tolower((unsigned char)text[i]) != tolower((unsigned char)word[i]))
			return false;
	return true;
}

/* The place in the order of the one device that a word means; -1 if there is none, or more than one. */
static int find(const char *word, size_t length, const uint8_t *order, unsigned count)
{
	char text[41], *end;
	int found = -1;
	long number;

	if (isdigit((unsigned char)*word)) {
		number = strtol(word, &end, 10);
		return (size_t)(end - word) == length && number < (long)count ? (int)number : -1;
	}
	if (length <= 4 || !starts_with("GPU-", word, 4))
		return -1;
	for (unsigned at = 0; at < count; at++) {
		uuid_text(order[at], text);
		if (!starts_with(text, word, length))
			continue;
		if (found >= 0)
			return -1;
		found = (int)at;
	}
	return found;
}

static unsigned choose(const char *list, const uint8_t *order, unsigned count)
{
	unsigned chosen = 0, seen = 0;

	while (*list) {
		size_t blanks = strspn(list, " \t"), length = strcspn(list + blanks, ", \t");
		int at = find(list + blanks, length, order, count);

		if (at < 0)
			break;
		if (seen & 1u << at)
			return 0;
		seen |= 1u << at;
		driver.index[chosen++] = order[at];
		list += blanks + length;
		list += strspn(list, " \t");
		if (*list == ',')
			list++;
	}
	return chosen;
}

void driver_see_devices(void)
{
	const char *list = getenv("CUDA_VISIBLE_DEVICES");
	uint8_t order[STATE_DEVICES];
	unsigned count = enumerate(order);

	if (list)
		driver.devices = choose(list, order, count);
	else
		memcpy(driver.index, order, driver.devices = count);
}
