/*
 * What the kernel says of a process: proc(5).
 */
#pragma once

#include <sys/types.h>

/* The memory that the process has now, resident, in KB; 0 when that cannot be read. pid 0 is this process. One short
 * file: cheap enough for every activation. */
long process_resident_kb(pid_t pid);

/* The most of it that it has had at a time since its program was started, in KB; 0 when that cannot be read. Unlike
 * getrusage(2)'s it has nothing of the process that forked it. A long file, which the kernel writes anew for each
 * reader: for those who look now and then. */
long process_peak_kb(pid_t pid);

/*
 * The memory that the process and all that it has started have now, in KB; 0 when that cannot be read. Up to enough_kb
 * pages that several of them share count for each, which is quickly found out; where that is more, they are shared out
 * among those that have them. Processes whose parents have ended are nobody's, and not counted.
 */
long process_tree_kb(pid_t pid, long enough_kb);

/* How many descriptors this process has open; 0 when that cannot be found out. */
unsigned process_open_files(void);
