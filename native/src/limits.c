#include "limits.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* A piece of the text. Never zero-terminated; empty when length is 0. */
struct word {
	const char *at;
	size_t length;
};

struct parser {
	struct vgpu_limits *limits;
	struct vgpu_fault *fault;
	uint32_t line;
	bool ours;		/* inside [nvidia] */
	bool section_seen, policy_seen, priority_seen, oom_seen;
};

#define SHOWN 60	/* bytes of a wrong word that a sentence repeats */

__attribute__((format(printf, 3, 4)))
static enum vgpu_closed close_with(struct parser *p, enum vgpu_closed reason, const char *format, ...)
{
	va_list arguments;

	p->fault->reason = reason;
	p->fault->line = p->line;
	va_start(arguments, format);
	vsnprintf(p->fault->text, sizeof(p->fault->text), format, arguments);
	va_end(arguments);
	for (char *c = p->fault->text; *c; c++)
		if ((unsigned char)*c < ' ' || (unsigned char)*c > '~')
			*c = '?';	/* the text may hold anything; a log line may not */
	return reason;
}

#define SHOW(word) (int)((word).length < SHOWN ? (word).length : SHOWN), (word).at

static bool is(struct word word, const char *text)
{
	return word.length == strlen(text) && memcmp(word.at, text, word.length) == 0;
}

/* Cut the first word off REST: up to SEPARATOR, which is dropped. */
static struct word cut(struct word *rest, char separator)
{
	const char *end = rest->length ? memchr(rest->at, separator, rest->length) : NULL;
	struct word first = { rest->at, end ? (size_t)(end - rest->at) : rest->length };
	size_t taken = first.length + (end ? 1 : 0);

	rest->at += taken;
	rest->length -= taken;
	return first;
}

static bool parse_number(struct word word, uint64_t most, uint64_t *value)
{
	uint64_t sum = 0;

	if (word.length == 0)
		return false;
	for (size_t i = 0; i < word.length; i++) {
		unsigned digit = (unsigned char)word.at[i] - (unsigned)'0';

		if (digit > 9 || sum > (most - digit) / 10)
			return false;
		sum = sum * 10 + digit;
	}
	*value = sum;
	return true;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int vgpu_limits_parse_uuid(const char *text, size_t length, uint8_t bytes[16])
{
	unsigned digits = 0;

	if (length != 40 || (memcmp(text, "GPU-", 4) != 0 && memcmp(text, "MIG-", 4) != 0))
		return false;
	for (unsigned i = 0; i < 36; i++) {
		char c = text[4 + i];
		int digit = hex_digit(c);

		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (c != '-')
				return false;
			continue;
		}
		if (digit < 0)
			return false;
		bytes[digits / 2] = (uint8_t)(digits % 2 ? bytes[digits / 2] | digit : digit << 4);
		digits++;
	}
	return true;
}

struct device_key {
	const char *name;
	uint64_t least, most;
	bool required;
	const char *unit;
};

/* Bytes stay below 2^56, so that a size and its device fit into one word of the pointer table. */
#define MOST_BYTES (UINT64_C(1) << 56)

enum { KEY_MEMORY, KEY_PHYSICAL, KEY_CORES, KEY_CONTEXT, KEYS };

static const struct device_key device_keys[KEYS] = {
	[KEY_MEMORY] = { "memory", 1, MOST_BYTES - 1, true, "bytes as a plain number, at least 1 and below 2^56" },
	[KEY_PHYSICAL] = { "physical", 0, MOST_BYTES - 1, false, "bytes as a plain number below 2^56" },
	[KEY_CORES] = { "cores", 0, 100, true, "percent as a plain number from 0 to 100" },
	[KEY_CONTEXT] = { "context", 0, MOST_BYTES - 1, false, "bytes as a plain number below 2^56" },
};

static enum vgpu_closed parse_device_key(struct parser *p, struct word pair, uint64_t values[KEYS], unsigned *seen)
{
	struct word value = pair, key = cut(&value, '=');

	if (key.length == pair.length)
		return close_with(p, VGPU_CLOSED_SYNTAX, "device: \"%.*s\" is no key=value", SHOW(pair));
	for (unsigned i = 0; i < KEYS; i++) {
		const struct device_key *known = &device_keys[i];

		if (!is(key, known->name))
			continue;
		if (*seen & 1u << i)
			return close_with(p, VGPU_CLOSED_DUPLICATE, "device: %s= is given twice: give it once", known->name);
		if (!parse_number(value, known->most, &values[i]) || values[i] < known->least)
			return close_with(p, VGPU_CLOSED_NUMBER, "device: %s=%.*s: give %s", known->name, SHOW(value),
			                  known->unit);
		*seen |= 1u << i;
	}
	return VGPU_OPEN;
}

static enum vgpu_closed parse_device(struct parser *p, struct word rest)
{
	struct word uuid = cut(&rest, ' ');
	struct vgpu_limits_device device = { .memory = 0 };
	uint64_t values[KEYS] = { 0 };
	unsigned seen = 0;

	if (!vgpu_limits_parse_uuid(uuid.at, uuid.length, device.uuid_bytes))
		return close_with(p, VGPU_CLOSED_UUID, "device \"%.*s\": give a UUID as NVML prints it (GPU-8-4-4-4-12 "
		                  "hexadecimal digits, or MIG-)", SHOW(uuid));
	memcpy(device.uuid, uuid.at, uuid.length);
	for (uint32_t i = 0; i < p->limits->device_count; i++)
		if (memcmp(p->limits->devices[i].uuid_bytes, device.uuid_bytes, sizeof(device.uuid_bytes)) == 0)
			return close_with(p, VGPU_CLOSED_DUPLICATE, "device %s is given twice: give it once", device.uuid);
	if (p->limits->device_count == VGPU_MAX_DEVICES)
		return close_with(p, VGPU_CLOSED_DEVICES, "more than %u devices: give at most %u", VGPU_MAX_DEVICES,
		                  VGPU_MAX_DEVICES);
	while (rest.length) {
		enum vgpu_closed closed = parse_device_key(p, cut(&rest, ' '), values, &seen);

		if (closed)
			return closed;
	}
	for (unsigned i = 0; i < KEYS; i++)
		if (device_keys[i].required && !(seen & 1u << i))
			return close_with(p, VGPU_CLOSED_MISSING, "device %s without %s=: give %s", device.uuid,
			                  device_keys[i].name, device_keys[i].unit);
	device.memory = values[KEY_MEMORY];
	device.physical = values[KEY_PHYSICAL];
	device.cores = (uint32_t)values[KEY_CORES];
	device.context = values[KEY_CONTEXT];
	p->limits->devices[p->limits->device_count++] = device;
	return VGPU_OPEN;
}

static bool once(bool *seen)
{
	bool first = !*seen;

	*seen = true;
	return first;
}

static enum vgpu_closed parse_policy(struct parser *p, struct word value)
{
	static const char *const words[] = { "default", "force", "disable" };

	if (!once(&p->policy_seen))
		return close_with(p, VGPU_CLOSED_DUPLICATE, "policy= is given twice: give it once");
	for (unsigned i = 0; i < 3; i++)
		if (is(value, words[i])) {
			p->limits->policy = (enum vgpu_policy)i;
			return VGPU_OPEN;
		}
	return close_with(p, VGPU_CLOSED_VALUE, "policy=%.*s: give default, force or disable", SHOW(value));
}

static enum vgpu_closed parse_priority(struct parser *p, struct word value)
{
	uint64_t number;

	if (!once(&p->priority_seen))
		return close_with(p, VGPU_CLOSED_DUPLICATE, "priority= is given twice: give it once");
	if (!parse_number(value, UINT32_MAX, &number))
		return close_with(p, VGPU_CLOSED_NUMBER, "priority=%.*s: give a plain number; 0 is high", SHOW(value));
	p->limits->priority = (uint32_t)number;
	return VGPU_OPEN;
}

static enum vgpu_closed parse_oom(struct parser *p, struct word value)
{
	if (!once(&p->oom_seen))
		return close_with(p, VGPU_CLOSED_DUPLICATE, "oom= is given twice: give it once");
	if (!is(value, "refuse") && !is(value, "kill"))
		return close_with(p, VGPU_CLOSED_VALUE, "oom=%.*s: give refuse or kill", SHOW(value));
	p->limits->oom = is(value, "kill") ? VGPU_OOM_KILL : VGPU_OOM_REFUSE;
	return VGPU_OPEN;
}

static enum vgpu_closed parse_our_line(struct parser *p, struct word line)
{
	struct word rest = line, first = cut(&rest, ' ');
	struct word value = line, key = cut(&value, '=');

	if (is(first, "device"))
		return parse_device(p, rest);
	if (key.length == line.length || key.length == 0 || memchr(line.at, ' ', line.length))
		return close_with(p, VGPU_CLOSED_SYNTAX, "\"%.*s\" is neither a device nor key=value", SHOW(line));
	if (is(key, "policy"))
		return parse_policy(p, value);
	if (is(key, "priority"))
		return parse_priority(p, value);
	if (is(key, "oom"))
		return parse_oom(p, value);
	return VGPU_OPEN;
}

static enum vgpu_closed parse_section(struct parser *p, struct word line)
{
	p->ours = is(line, "[nvidia]");
	if (p->ours && !once(&p->section_seen))
		return close_with(p, VGPU_CLOSED_SECTION, "[nvidia] is given twice: give it once");
	return VGPU_OPEN;
}

/* The id names the region file after each '/' has become '_', so that must be a file name. */
static bool is_grant_id(struct word id)
{
	if (id.length == 0 || id.length >= VGPU_GRANT_LENGTH || is(id, ".") || is(id, ".."))
		return false;
	for (size_t i = 0; i < id.length; i++)
		if (id.at[i] <= ' ' || id.at[i] > '~')
			return false;
	return true;
}

static enum vgpu_closed parse_grant(struct parser *p, struct word line)
{
	struct word id = line, key = cut(&id, ' ');

	if (!is(key, "grant") || !is_grant_id(id))
		return close_with(p, VGPU_CLOSED_GRANT, "\"%.*s\": give `grant <pod uid>/<container>`", SHOW(line));
	memcpy(p->limits->grant, id.at, id.length);
	return VGPU_OPEN;
}

static enum vgpu_closed parse_line(struct parser *p, struct word line)
{
	if (p->line == 1)
		return is(line, "hami-limits 1") ? VGPU_OPEN
			: close_with(p, VGPU_CLOSED_VERSION, "\"%.*s\": the first line must be `hami-limits 1`", SHOW(line));
	if (p->line == 2)
		return parse_grant(p, line);
	if (line.length && line.at[0] == '[')
		return parse_section(p, line);
	if (p->ours)
		return parse_our_line(p, line);
	if (!p->section_seen && line.length >= 6 && memcmp(line.at, "grant ", 6) == 0)
		return close_with(p, VGPU_CLOSED_GRANT, "grant is given twice: give it once");
	return VGPU_OPEN;
}

static enum vgpu_closed parse_lines(struct parser *p, struct word text)
{
	while (text.length) {
		struct word line = cut(&text, '\n');
		enum vgpu_closed closed;

		p->line++;
		if (p->line > 2 && is(line, "end"))
			return text.length == 0 ? VGPU_OPEN
				: close_with(p, VGPU_CLOSED_SYNTAX, "text after `end`: nothing may follow it");
		closed = parse_line(p, line);
		if (closed)
			return closed;
	}
	return VGPU_OPEN;	/* not reached: the text is whole */
}

/* Whether the text ends with the line `end`, with or without its newline: asked first, or a cut line would look wrong. */
static bool is_whole(struct word text)
{
	if (text.length && text.at[text.length - 1] == '\n')
		text.length--;
	return text.length >= 4 && memcmp(text.at + text.length - 4, "\nend", 4) == 0;
}

static enum vgpu_closed parse(struct parser *p, const char *text, size_t length)
{
	struct word whole = { text, length }, rest;
	enum vgpu_closed closed;

	if (length == 0)
		return close_with(p, VGPU_CLOSED_EMPTY, "the limits are empty: nothing is granted");
	if (length > VGPU_LIMITS_TEXT_MAX)
		return close_with(p, VGPU_CLOSED_TOO_LONG, "%zu bytes: give at most %u", length, VGPU_LIMITS_TEXT_MAX);
	rest = whole;
	p->line = 1;
	closed = parse_line(p, cut(&rest, '\n'));
	if (closed)
		return closed;
	p->line = 0;
	if (!is_whole(whole))
		return close_with(p, VGPU_CLOSED_TRUNCATED, "the last line is not `end`: the file is cut off");
	closed = parse_lines(p, whole);
	if (closed)
		return closed;
	p->line = 0;
	if (!p->section_seen)
		return close_with(p, VGPU_CLOSED_SECTION, "no section [nvidia]: nothing is granted");
	if (p->limits->device_count == 0)
		return close_with(p, VGPU_CLOSED_DEVICES, "[nvidia] without a device: nothing is granted");
	return VGPU_OPEN;
}

enum vgpu_closed vgpu_limits_parse(const char *text, size_t length, struct vgpu_limits *limits, struct vgpu_fault *fault)
{
	struct parser parser = { .limits = limits, .fault = fault };
	enum vgpu_closed closed;

	memset(limits, 0, sizeof(*limits));
	memset(fault, 0, sizeof(*fault));
	limits->priority = 1;		/* HAMi's default: not high */
	closed = parse(&parser, text, length);
	if (closed)
		memset(limits, 0, sizeof(*limits));
	return closed;
}

int vgpu_limits_parse_size(const char *value, uint64_t *bytes)
{
	struct word digits = { value, strlen(value) };
	unsigned shift = 0;
	uint64_t number;

	switch (digits.length ? value[digits.length - 1] : '\0') {
	case 'g': case 'G': shift = 30; break;
	case 'm': case 'M': shift = 20; break;
	case 'k': case 'K': shift = 10; break;
	}
	if (shift)
		digits.length--;
	if (!parse_number(digits, (MOST_BYTES - 1) >> shift, &number) || number == 0)
		return 0;
	*bytes = number << shift;
	return 1;
}
