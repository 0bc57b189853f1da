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

/* "... .global .align 4 .b8 name[16]": the bits of the type before the name, times what stands in brackets. */
uint64_t ptx_variable(const char *ptx, const char *name)
{
	const char *at = word(ptx, name), *type;
	uint64_t bytes, count = 1;

	if (!at)
		return 0;
	for (type = at; type > ptx && *type != '.' && *type != ';' && *type != '}'; type--)
		;
	if (*type != '.' || !isdigit((unsigned char)type[2]))
		return 0;
	bytes = strtoull(type + 2, NULL, 10) / 8;
	at += strlen(name);
	while (*at == '[') {
		count *= strtoull(at + 1, NULL, 10);
		at += strcspn(at, "]");
		at += *at == ']';
	}
	return bytes * count;
}
