/*
 * How every exported function begins: ENTRY(name) is the symbol `name` itself, which looks at one word of the machine's state, and jumps on to the
 * function that the sources define under that name. A prototype after RENAMED(name) makes the compiler call that one `mock_<name>`. While
 * a fault is armed, entry_gate() is asked first, and may answer in the function's stead. So faults hold for any function, and cost nothing without one.
 *
 * Arguments stay where the caller put them: six words (eight on ARM) and as many vector registers are kept, the stack is not touched.
 */
#ifndef HAMI_MOCK_ENTRY_H
#define HAMI_MOCK_ENTRY_H

#include <stdbool.h>

#include "state.h"

#define RENAMED(name) ENTRY_PRAGMA(redefine_extname name mock_##name)
#define ENTRY_PRAGMA(text) _Pragma(#text)

/* Points at a word that is 0 as long as no call needs the gate. */
extern _Atomic uint32_t *entry_armed;

/* The machine, mapped once for the life of this process and its children. NULL: there is none. */
struct state *entry_state(void);

/* Whether the machine's driver is of a release without this function. Its symbol is gone from the library's file, too. */
bool entry_is_missing(const struct state *state, const char *name);

/* Each library's own. ARGUMENTS: the first six, as words. Returns 0 to go on, or what the function shall return. */
int entry_gate(const char *name, const uint64_t *arguments);

#if defined(__x86_64__)

#define ENTRY(name) \
	__asm__(".text\n\t.globl " #name "\n\t.type " #name ", @function\n\t.hidden mock_" #name "\n\t.p2align 4\n" #name ":\n\t" \
		"endbr64\n\tmovq entry_armed(%rip), %r11\n\tcmpl $0, (%r11)\n\tjne 1f\n\tjmp mock_" #name "\n" \
		"1:\tleaq 2f(%rip), %rax\n\tleaq mock_" #name "(%rip), %r11\n\tjmp entry_slow\n\t.size " #name ", . - " #name "\n" \
		"2:\t.asciz \"" #name "\"\n")

#define ENTRY_SLOW \
	__asm__(".text\n\t.hidden entry_slow\n\t.globl entry_slow\n\t.type entry_slow, @function\n\t.p2align 4\nentry_slow:\n\t.cfi_startproc\n\t" \
		"pushq %rbp\n\t.cfi_adjust_cfa_offset 8\n\tmovq %rsp, %rbp\n\t.cfi_def_cfa_register %rbp\n\tsubq $192, %rsp\n\t" \
		"movq %rdi, (%rsp)\n\tmovq %rsi, 8(%rsp)\n\tmovq %rdx, 16(%rsp)\n\tmovq %rcx, 24(%rsp)\n\tmovq %r8, 32(%rsp)\n\t" \
		"movq %r9, 40(%rsp)\n\tmovq %r11, 48(%rsp)\n\t" \
		"movaps %xmm0, 64(%rsp)\n\tmovaps %xmm1, 80(%rsp)\n\tmovaps %xmm2, 96(%rsp)\n\tmovaps %xmm3, 112(%rsp)\n\t" \
		"movaps %xmm4, 128(%rsp)\n\tmovaps %xmm5, 144(%rsp)\n\tmovaps %xmm6, 160(%rsp)\n\tmovaps %xmm7, 176(%rsp)\n\t" \
		"movq %rax, %rdi\n\tmovq %rsp, %rsi\n\tcall entry_gate\n\ttestl %eax, %eax\n\tjne 1f\n\t" \
		"movaps 64(%rsp), %xmm0\n\tmovaps 80(%rsp), %xmm1\n\tmovaps 96(%rsp), %xmm2\n\tmovaps 112(%rsp), %xmm3\n\t" \
		"movaps 128(%rsp), %xmm4\n\tmovaps 144(%rsp), %xmm5\n\tmovaps 160(%rsp), %xmm6\n\tmovaps 176(%rsp), %xmm7\n\t" \
		"movq (%rsp), %rdi\n\tmovq 8(%rsp), %rsi\n\tmovq 16(%rsp), %rdx\n\tmovq 24(%rsp), %rcx\n\tmovq 32(%rsp), %r8\n\t" \
		"movq 40(%rsp), %r9\n\tmovq 48(%rsp), %r11\n\tleave\n\tjmp *%r11\n1:\tleave\n\tret\n\t.cfi_endproc\n\t.size entry_slow, . - entry_slow\n")

#elif defined(__aarch64__)

#define ENTRY(name) \
	__asm__(".text\n\t.globl " #name "\n\t.type " #name ", %function\n\t.hidden mock_" #name "\n\t.p2align 4\n" #name ":\n\t" \
		"hint 34\n\tadrp x16, entry_armed\n\tldr x16, [x16, :lo12:entry_armed]\n\tldr w16, [x16]\n\tcbnz w16, 1f\n\tb mock_" #name "\n" \
		"1:\tadr x16, 2f\n\tadrp x17, mock_" #name "\n\tadd x17, x17, :lo12:mock_" #name "\n\tb entry_slow\n\t" \
		".size " #name ", . - " #name "\n2:\t.asciz \"" #name "\"\n\t.p2align 2\n")

#define ENTRY_SLOW \
	__asm__(".text\n\t.hidden entry_slow\n\t.globl entry_slow\n\t.type entry_slow, %function\n\t.p2align 4\nentry_slow:\n\t.cfi_startproc\n\t" \
		"sub sp, sp, #224\n\t.cfi_def_cfa_offset 224\n\tstp x0, x1, [sp]\n\tstp x2, x3, [sp, #16]\n\tstp x4, x5, [sp, #32]\n\t" \
		"stp x6, x7, [sp, #48]\n\tstp x17, x8, [sp, #64]\n\tstp x29, x30, [sp, #80]\n\t.cfi_offset 29, -144\n\t.cfi_offset 30, -136\n\t" \
		"stp q0, q1, [sp, #96]\n\tstp q2, q3, [sp, #128]\n\tstp q4, q5, [sp, #160]\n\tstp q6, q7, [sp, #192]\n\t" \
		"mov x0, x16\n\tmov x1, sp\n\tbl entry_gate\n\t" \
		"ldp x17, x8, [sp, #64]\n\tldp x29, x30, [sp, #80]\n\tcbnz w0, 1f\n\t" \
		"ldp q0, q1, [sp, #96]\n\tldp q2, q3, [sp, #128]\n\tldp q4, q5, [sp, #160]\n\tldp q6, q7, [sp, #192]\n\t" \
		"ldp x2, x3, [sp, #16]\n\tldp x4, x5, [sp, #32]\n\tldp x6, x7, [sp, #48]\n\tldp x0, x1, [sp]\n\tadd sp, sp, #224\n\tbr x17\n" \
		"1:\tadd sp, sp, #224\n\tret\n\t.cfi_endproc\n\t.size entry_slow, . - entry_slow\n")

#else
#error "no entry for this processor: x86-64 and AArch64 are known"
#endif

#endif
