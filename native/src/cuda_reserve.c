#include "cuda_reserve.h"

#include <string.h>

#include "charge.h"
#include "cuda_device.h"
#include "driver.h"
#include "lock.h"
#include "process.h"

#define GRANULE 512u		/* of what a pool allocates */
#define COARSEST (UINT64_C(1) << 30)	/* step that is believed */

/* Under the lock. Not wiped by a fork: a child begins anew, as it has no memory of its parent's. */
static struct vgpu_reserve reserves[VGPU_MOST_RESERVES];
static unsigned used;		/* places that were ever taken */

static void begin(struct vgpu_process *process)
{
	if (atomic_exchange_explicit(&process->reserves_known, 1, memory_order_relaxed))
		return;
	memset(reserves, 0, used * sizeof(*reserves));
	used = 0;
}

void vgpu_reserves_enter(void)
{
	struct vgpu_process *process = vgpu_process();

	vgpu_lock(&process->reserve_lock);
	begin(process);
}

bool vgpu_reserves_try(void)
{
	struct vgpu_process *process = vgpu_process();

	if (!vgpu_try_lock(&process->reserve_lock))
		return false;
	begin(process);
	return true;
}

void vgpu_reserves_leave(void)
{
	vgpu_unlock(&vgpu_process()->reserve_lock);
}

static bool is_charged(const struct vgpu_reserve *reserve)
{
	return reserve->state == VGPU_RESERVE_POOL || reserve->state == VGPU_RESERVE_GRAPHS;
}

struct vgpu_reserve *vgpu_reserve_of_pool(CUmemoryPool pool)
{
	for (unsigned i = 0; i < used; i++)
		if (reserves[i].pool == pool && (reserves[i].state == VGPU_RESERVE_POOL || reserves[i].state == VGPU_RESERVE_UNCHARGED))
			return &reserves[i];
	return NULL;
}

struct vgpu_reserve *vgpu_reserve_add(enum vgpu_reserve_state state, unsigned device, CUmemoryPool pool)
{
	unsigned place = 0;

	while (place < used && reserves[place].state != VGPU_RESERVE_FREE)
		place++;
	if (place == VGPU_MOST_RESERVES)
		return NULL;
	if (place == used)
		used++;
	memset(&reserves[place], 0, sizeof(reserves[place]));
	reserves[place].state = state;
	reserves[place].device = device;
	reserves[place].pool = pool;
	reserves[place].step = VGPU_RESERVE_STEP;
	return &reserves[place];
}

struct vgpu_reserve *vgpu_reserve_of_graphs(unsigned device)
{
	for (unsigned i = 0; i < used; i++)
		if (reserves[i].state == VGPU_RESERVE_GRAPHS && reserves[i].device == device)
			return &reserves[i];
	return vgpu_reserve_add(VGPU_RESERVE_GRAPHS, device, NULL);
}

/* One of the driver's two counters of a reserve. False: it does not tell. */
static bool ask(const struct vgpu_reserve *reserve, CUmemPool_attribute of_pool, CUgraphMem_attribute of_graphs,
                uint64_t *value)
{
	*value = 0;
	if (reserve->state == VGPU_RESERVE_GRAPHS)
		return vgpu_cuda.cuDeviceGetGraphMemAttribute &&
		       vgpu_cuda.cuDeviceGetGraphMemAttribute(vgpu_cuda_handle(reserve->device), of_graphs, value) == CUDA_SUCCESS;
	return vgpu_cuda.cuMemPoolGetAttribute &&
	       vgpu_cuda.cuMemPoolGetAttribute(reserve->pool, of_pool, value) == CUDA_SUCCESS;
}

static bool read_reserved(const struct vgpu_reserve *reserve, uint64_t *bytes)
{
	return ask(reserve, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT, CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT, bytes);
}

/* Whether BYTES are reserved and not in use, as of the last reading. */
static bool has_unused(const struct vgpu_reserve *reserve, uint64_t bytes)
{
	uint64_t in_use;

	return ask(reserve, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT, &in_use) &&
	       in_use <= reserve->charged && bytes <= reserve->charged - in_use;
}

/* BYTES in whole steps; UINT64_MAX, which never fits, where that overflows. */
static uint64_t in_steps(uint64_t bytes, uint64_t step)
{
	uint64_t raised;

	return __builtin_add_overflow(bytes, step - 1, &raised) ? UINT64_MAX : raised / step * step;
}

/* A driver with finer steps is seen by what it has reserved, one with coarser ones by how much that grew. */
static void learn(struct vgpu_reserve *reserve, uint64_t reserved, uint64_t hand)
{
	uint64_t finest = reserved & -reserved, grown = reserved - reserve->charged;

	if (finest < reserve->step)
		reserve->step = finest < GRANULE ? GRANULE : finest;
	while (hand && grown > hand && reserve->step < grown && reserve->step < COARSEST)
		reserve->step *= 2;
}

/* A driver that does not tell leaves what was charged: too much, and never too little. */
bool vgpu_reserve_after(struct vgpu_reserve *reserve, uint64_t hand)
{
	uint64_t reserved, held = reserve->charged + hand;

	reserve->unread = 0;
	if (!read_reserved(reserve, &reserved)) {
		reserve->charged = held;
		return true;
	}
	if (reserved > reserve->charged)
		learn(reserve, reserved, hand);
	if (reserved < reserve->charged) {
		reserve->hole_count = 0;	/* they may be what has been given back */
		reserve->last = 0;
	}
	if (reserved > held && vgpu_charge_within(reserve->device, reserved - held) != CUDA_SUCCESS) {
		reserve->charged = held;
		return false;
	}
	if (reserved < held)
		vgpu_discharge(reserve->device, held - reserved);
	reserve->charged = reserved;
	return true;
}

void vgpu_reserve_settle(struct vgpu_reserve *reserve)
{
	reserve->epoch = atomic_load_explicit(&vgpu_process()->reserves_epoch, memory_order_acquire);
	if (is_charged(reserve))
		vgpu_reserve_after(reserve, 0);
}

void vgpu_reserve_trim(struct vgpu_reserve *reserve)
{
	if (reserve->state == VGPU_RESERVE_GRAPHS && vgpu_cuda.cuDeviceGraphMemTrim)
		vgpu_cuda.cuDeviceGraphMemTrim(vgpu_cuda_handle(reserve->device));
	if (reserve->state == VGPU_RESERVE_POOL && vgpu_cuda.cuMemPoolTrimTo)
		vgpu_cuda.cuMemPoolTrimTo(reserve->pool, 0);
	vgpu_reserve_settle(reserve);
}

/* With the lock. */
static bool trim_all(unsigned device)
{
	bool any = false;

	for (unsigned i = 0; i < used; i++) {
		uint64_t before = reserves[i].charged;

		if (!is_charged(&reserves[i]) || reserves[i].device != device || !before)
			continue;
		vgpu_reserve_trim(&reserves[i]);
		any |= reserves[i].charged < before;
	}
	return any;
}

/* Charge the most that BYTES can make it grow by. */
static CUresult charge_most(const struct vgpu_reserve *reserve, uint64_t bytes, uint64_t *hand)
{
	uint64_t most = in_steps(bytes, reserve->step);
	CUresult result = vgpu_charge_within(reserve->device, most);

	*hand = result == CUDA_SUCCESS ? most : 0;
	return result;
}

/* Whether it has a place for BYTES that some stream has freed. */
static bool has_hole(const struct vgpu_reserve *reserve, uint64_t bytes)
{
	for (unsigned i = 0; i < reserve->hole_count; i++)
		if (reserve->holes[i].bytes >= bytes)
			return true;
	return false;
}

/* In this order: what makes nothing grow, what makes room, and last what the driver may answer by growing. */
CUresult vgpu_reserve_before(struct vgpu_reserve *reserve, uint64_t bytes, uint64_t *hand)
{
	CUresult result = charge_most(reserve, bytes, hand);

	if (result != CUDA_ERROR_OUT_OF_MEMORY)
		return result;
	vgpu_reserve_settle(reserve);
	if (has_hole(reserve, bytes))
		return CUDA_SUCCESS;
	if (bytes <= vgpu_process()->limit_bytes[reserve->device] && trim_all(reserve->device))
		result = charge_most(reserve, bytes, hand);
	if (result == CUDA_ERROR_OUT_OF_MEMORY && has_unused(reserve, bytes))
		return CUDA_SUCCESS;
	if (result == CUDA_ERROR_OUT_OF_MEMORY)
		vgpu_refused(reserve->device, bytes);
	return result;
}

void vgpu_reserve_drop(struct vgpu_reserve *reserve)
{
	if (reserve->charged)
		vgpu_discharge(reserve->device, reserve->charged);
	reserve->charged = 0;
	reserve->pool = NULL;
	reserve->state = VGPU_RESERVE_FREE;
}

uint64_t vgpu_reserve_pack(const struct vgpu_reserve *reserve, uint64_t bytes)
{
	return (bytes + GRANULE - 1) / GRANULE << 16 | (uint64_t)(reserve - reserves);
}

struct vgpu_reserve *vgpu_reserve_unpack(uint64_t packed, uint64_t *bytes)
{
	*bytes = (packed >> 16) * GRANULE;
	return &reserves[packed & 0xffff];
}

void vgpu_reserve_forget(uint64_t packed)
{
	uint64_t bytes;
	struct vgpu_reserve *reserve = vgpu_reserve_unpack(packed, &bytes);

	if (atomic_load_explicit(&vgpu_process()->reserves_known, memory_order_relaxed))
		atomic_fetch_sub_explicit(&reserve->live, bytes, memory_order_relaxed);
	vgpu_reserves_note_free();
}

void vgpu_reserves_note_free(void)
{
	struct vgpu_process *process = vgpu_process();

	if (atomic_load_explicit(&process->reserves_known, memory_order_relaxed))
		atomic_store_explicit(&process->reserves_freed, 1, memory_order_relaxed);
}

/* With the lock. A destroyed pool cannot be asked: what was freed in it is given back where the driver synchronises. */
static void settle_all(bool synchronised)
{
	for (unsigned i = 0; i < used; i++)
		if (reserves[i].state == VGPU_RESERVE_DESTROYED) {
			if (synchronised && atomic_load_explicit(&reserves[i].live, memory_order_relaxed) == 0)
				vgpu_reserve_drop(&reserves[i]);
		} else if (reserves[i].charged || reserves[i].hole_count) {
			vgpu_reserve_settle(&reserves[i]);
		}
}

CUresult vgpu_reserves_synchronised(CUresult result)
{
	struct vgpu_process *process = vgpu_process();

	if (__builtin_expect(!atomic_load_explicit(&process->reserves_freed, memory_order_relaxed), 1) ||
	    result != CUDA_SUCCESS)
		return result;
	atomic_fetch_add_explicit(&process->reserves_epoch, 1, memory_order_release);
	if (!vgpu_reserves_try())
		return result;		/* whoever allocates next sees the epoch, the next synchronisation what was freed */
	atomic_store_explicit(&process->reserves_freed, 0, memory_order_relaxed);
	settle_all(true);
	vgpu_reserves_leave();
	return result;
}

void vgpu_reserves_settle(void)
{
	if (!atomic_load_explicit(&vgpu_process()->reserves_known, memory_order_relaxed) || !vgpu_reserves_try())
		return;
	settle_all(false);
	vgpu_reserves_leave();
}

void vgpu_reserves_reset(unsigned device)
{
	uint64_t reserved;

	if (!atomic_load_explicit(&vgpu_process()->reserves_known, memory_order_relaxed))
		return;
	vgpu_reserves_enter();
	for (unsigned i = 0; i < used; i++) {
		if (reserves[i].state == VGPU_RESERVE_FREE || reserves[i].device != device)
			continue;
		if (!read_reserved(&reserves[i], &reserved))
			vgpu_reserve_drop(&reserves[i]);
		else
			vgpu_reserve_settle(&reserves[i]);
	}
	vgpu_process()->current_pool[device] = NULL;
	vgpu_reserves_leave();
}

bool vgpu_reserves_trim(unsigned device)
{
	bool any;

	if (!atomic_load_explicit(&vgpu_process()->reserves_known, memory_order_relaxed))
		return false;
	vgpu_reserves_enter();
	any = trim_all(device);
	vgpu_reserves_leave();
	return any;
}
