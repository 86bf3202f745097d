#include "process.h"

#include "util.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* The begin of /proc/PID/name, NUL-terminated; empty when it cannot be read. */
static void read_file(pid_t pid, const char *name, char *text, size_t size)
{
	char path[64] = "";
	cleanup_fd int fd = -1;
	ssize_t length;

	if (pid > 0)
		(void) snprintf(path, sizeof(path), "/proc/%d/%s", (int) pid, name);
	else
		(void) snprintf(path, sizeof(path), "/proc/self/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	length = fd >= 0 ? read(fd, text, size - 1) : 0;
	text[length > 0 ? length : 0] = '\0';
}

long process_resident_kb(pid_t pid)
{
	char text[128];
	const char *resident;

	read_file(pid, "statm", text, sizeof(text));
	resident = strchr(text, ' '); /* the second number is the resident pages */
	return resident != NULL ? strtol(resident, NULL, 10) * (sysconf(_SC_PAGESIZE) / 1024) : 0;
}

long process_peak_kb(pid_t pid)
{
	char text[4096];
	const char *peak;

	read_file(pid, "status", text, sizeof(text));
	peak = strstr(text, "\nVmHWM:");
	return peak != NULL ? strtol(peak + strlen("\nVmHWM:"), NULL, 10) : 0;
}

/* Each entry of the directory is one, but for "." and "..", and the one that it is read with. */
static unsigned count_entries(const char *path)
{
	enum { NOT_COUNTED = 3 };
	DIR *directory = opendir(path);
	unsigned count = 0;

	if (directory == NULL)
		return 0;
	while (readdir(directory) != NULL)
		count++;
	(void) closedir(directory);
	return count > NOT_COUNTED ? count - NOT_COUNTED : 0;
}

unsigned process_open_files(void)
{
	static const char path[] = "/proc/self/fd";
	struct stat directory;

	/* Since Linux 6.2 the directory's size is their number. */
	if (stat(path, &directory) == 0 && directory.st_size > 0)
		return (unsigned) directory.st_size;
	return count_entries(path);
}
