/*
 * The C half of our dlsym and dlvsym. dlsym.S keeps the caller's registers and return address, asks here what to do, and
 * either jumps to the real function, which then sees the true caller, or returns the answer.
 */
#ifndef VGPU_DLSYM_H
#define VGPU_DLSYM_H

/* The real function to jump to with the caller's arguments, or NULL: *ANSWER is what to return. */
void *vgpu_dlsym_decide(void *handle, const char *name, void **answer);
void *vgpu_dlvsym_decide(void *handle, const char *name, const char *version, void **answer);

#endif
