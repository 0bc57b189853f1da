/* Modules and functions, as the other files of libcuda see them. A library is a module's record, a kernel a function's. */
#ifndef HAMI_MOCK_CUDA_MODULE_H
#define HAMI_MOCK_CUDA_MODULE_H

#include "cuda_driver.h"

enum { SETTABLE = 16 };                         /* CUfunction_attribute has fewer */

struct CUfunc_st {
	uint32_t magic;
	CUmodule module;
	struct CUfunc_st *next;
	uint64_t duration;                      /* in simulated time, as of `generation` of the machine's table */
	uint64_t generation;
	int attributes[SETTABLE];               /* what the program set */
	char name[];
};

/* A variable of a module. */
struct variable {
	CUdeviceptr address;
	uint64_t size;
	struct variable *next;
	char name[];
};

/* Records are never freed, so a stale handle is recognised. */
struct CUmod_st {
	uint32_t magic;                         /* 0 once unloaded */
	char *ptx;                              /* a copy, if the image is that; else any name exists */
	struct CUfunc_st *functions;
	struct variable *variables;
};

CUresult module_check(CUmodule module);
CUresult function_check(CUfunction function);

/* A function by name, made when it is first asked for. */
CUresult module_function(CUfunction *function, CUmodule module, const char *name);

/*
 * What PTX says (cuda_ptx.c): is this PTX; has it an entry of that name; the n-th entry's name, cut to SIZE; how many bytes a variable has (0: there
 * is none).
 */
bool ptx_is(const void *image);
bool ptx_has_entry(const char *ptx, const char *name);
bool ptx_entry(const char *ptx, unsigned int number, char *name, size_t size);
uint64_t ptx_variable(const char *ptx, const char *name);

/* Where the n-th parameter of an entry lies among its parameters, and its size. False: it has fewer. */
bool ptx_parameter(const char *ptx, const char *name, size_t number, size_t *offset, size_t *size);

#endif
