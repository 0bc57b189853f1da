#include "rendezvous.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_S 60		/* a partner that died never comes; a slow machine takes seconds */

static int count(const char *folder, const char *phase)
{
	DIR *entries = opendir(folder);
	struct dirent *entry;
	int found = 0;

	while (entries && (entry = readdir(entries)))
		found += strncmp(entry->d_name, phase, strlen(phase)) == 0 && entry->d_name[strlen(phase)] == '.';
	if (entries)
		closedir(entries);
	return found;
}

static bool come(const char *folder, const char *phase)
{
	char path[4096];
	int length = snprintf(path, sizeof(path), "%s/%s.%d", folder, phase, (int)getpid()), file;

	if (length < 0 || (size_t)length >= sizeof(path) || (mkdir(folder, 0700) != 0 && errno != EEXIST))
		return false;
	file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	if (file >= 0)
		close(file);
	return file >= 0;
}

bool rendezvous(const char *folder, const char *phase, int parties)
{
	time_t end = time(NULL) + PATIENCE_S;
	bool came = come(folder, phase);
	int changes = inotify_init1(IN_CLOEXEC), found = 0;
	char scrap[4096];

	/* Watched before it is counted: who comes in between is seen one way or the other. */
	if (came && changes >= 0 && inotify_add_watch(changes, folder, IN_CREATE | IN_MOVED_TO) >= 0)
		found = count(folder, phase);
	while (found > 0 && found < parties && time(NULL) < end) {
		struct pollfd ready = { .fd = changes, .events = POLLIN };

		if (poll(&ready, 1, 1000) > 0)
			(void)!read(changes, scrap, sizeof(scrap));
		found = count(folder, phase);
	}
	if (changes >= 0)
		close(changes);
	return found >= parties;
}
