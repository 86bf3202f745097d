/*
 * All memory of Python's from malloc(), for sanitizers: objects are then blocks of their own, and nothing is in memory
 * in which the leak sanitizer would not look for pointers (the interpreter's stacks are in what it takes for arenas).
 */
#pragma once

#include <Python.h>
#include <stdlib.h>

static void *python_malloc_arena(void *context, size_t size)
{
	(void) context;
	return malloc(size);
}

static void python_malloc_free_arena(void *context, void *arena, size_t size)
{
	(void) context;
	(void) size;
	free(arena);
}

/* Before the interpreter is started. */
static void python_malloc_use(void)
{
	PyObjectArenaAllocator arenas = { .alloc = python_malloc_arena, .free = python_malloc_free_arena };
	PyMemAllocatorEx raw;

	PyObject_SetArenaAllocator(&arenas);
	PyMem_GetAllocator(PYMEM_DOMAIN_RAW, &raw);
	PyMem_SetAllocator(PYMEM_DOMAIN_MEM, &raw);
	PyMem_SetAllocator(PYMEM_DOMAIN_OBJ, &raw);
}
