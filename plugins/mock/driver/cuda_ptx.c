/* libcuda: the little that is read of PTX: which entries and variables a text declares. Other images are not looked into. */
#include "cuda_module.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD = 4096 };

static bool is_name(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '$';
}

/* The next word NAME in a text; NULL if there is none. */
static const char *word(const char *text, const char *name)
{
	size_t length = strlen(name);

	for (const char *at = strstr(text, name); at; at = strstr(at + 1, name))
		if ((at == text || !is_name(at[-1])) && !is_name(at[length]))
			return at;
	return NULL;
}

/* Comments may come first; ".version" has to follow. Binary images start with bytes that are no text. */
bool ptx_is(const void *image)
{
	const char *text = image;

	for (int i = 0; i < HEAD && text[i]; i++) {
		if (strncmp(text + i, ".version", 8) == 0)
			return true;
		if (!isprint((unsigned char)text[i]) && !isspace((unsigned char)text[i]))
			return false;
	}
	return false;
}

static const char *next_entry(const char *text, const char **name, size_t *length)
{
	const char *at = strstr(text, ".entry");

	if (!at)
		return NULL;
	at += strlen(".entry");
	at += strspn(at, " \t\r\n");
	*name = at;
	for (*length = 0; is_name(at[*length]); ++*length)
		;
	return at + *length;
}

bool ptx_has_entry(const char *ptx, const char *name)
{
	const char *found;
	size_t length;

	while ((ptx = next_entry(ptx, &found, &length)))
		if (length == strlen(name) && strncmp(found, name, length) == 0)
			return true;
	return false;
}

bool ptx_entry(const char *ptx, unsigned int number, char *name, size_t size)
{
	const char *found;
	size_t length;

	for (unsigned int i = 0; (ptx = next_entry(ptx, &found, &length)); i++) {
		if (i < number)
			continue;
		length = length < size - 1 ? length : size - 1;
		memcpy(name, found, length);
		name[length] = '\0';
		return true;
	}
	return false;
}

/* The type before a name, ".b8" say, in bytes; 0 if there is none. What stands in brackets behind the name multiplies it. */
static uint64_t declared(const char *ptx, const char *name, size_t length)
{
	const char *type = name;
	uint64_t bytes;

	while (type > ptx && *type != '.' && *type != ';' && *type != '}' && *type != '(')
		type--;
	if (*type != '.' || !isdigit((unsigned char)type[2]))
		return 0;
	bytes = strtoull(type + 2, NULL, 10) / 8;
	for (name += length; *name == '['; name += *name == ']') {
		bytes *= strtoull(name + 1, NULL, 10);
		name += strcspn(name, "]");
	}
	return bytes;
}

uint64_t ptx_variable(const char *ptx, const char *name)
{
	const char *at = word(ptx, name);

	return at ? declared(ptx, at, strlen(name)) : 0;
}

/* The alignment that is given for a parameter, or its size, as for every plain type. */
static size_t alignment_of(const char *start, const char *name, size_t size)
{
	const char *at = strstr(start, ".align");

	return at && at < name ? strtoul(at + strlen(".align"), NULL, 10) : size;
}

/* From the bracket on: "(.param .u64 a, .param .align 8 .b8 b[16])". A name is the last word before a comma or the end. */
static bool parameter(const char *list, size_t number, size_t *offset, size_t *size)
{
	const char *end = strchr(list, ')'), *start = list;

	*offset = *size = 0;
	for (size_t i = 0; end && start < end; i++) {
		const char *stop = start + 1 + strcspn(start + 1, ",)"), *name = stop;
		size_t length = 0, alignment;

		while (name > start && (isspace((unsigned char)name[-1]) || name[-1] == ']' || name[-1] == '[' || isdigit((unsigned char)name[-1])))
			name--;
		while (name > start && is_name(name[-1]))
			name--;
		while (is_name(name[length]))
			length++;
		*offset += *size;
		*size = length ? declared(start, name, length) : 0;
		if (!*size)
			return false;
		alignment = alignment_of(start, name, *size);
		*offset = alignment ? (*offset + alignment - 1) / alignment * alignment : *offset;
		if (i == number)
			return true;
		start = stop;
	}
	return false;
}

bool ptx_parameter(const char *ptx, const char *name, size_t number, size_t *offset, size_t *size)
{
	const char *found;
	size_t length;

	while ((ptx = next_entry(ptx, &found, &length))) {
		if (length != strlen(name) || strncmp(found, name, length) != 0)
			continue;
		ptx += strspn(ptx, " \t\r\n");
		return *ptx == '(' && parameter(ptx, number, offset, size);
	}
	return false;
}
