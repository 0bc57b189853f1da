#include "charge.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cuda_reserve.h"
#include "cuda_shareable.h"
#include "grant.h"
#include "guest.h"
#include "log.h"
#include "region_file.h"

#define ATTACH_AGAIN_NS INT64_C(100000000)	/* between attempts, where the folder is read-only or the region damaged */
#define QUERY_REAP_NS INT64_C(5000000)	/* queries may come by the thousand; refusals reap at once */
#define ALIVE_FOR_NS INT64_C(5000000)		/* for how long "that process lives" is believed: a /proc read costs 5 us */

struct vgpu_pointers vgpu_charged_pointers;

/* Under the process' lock. Not wiped by a fork: a child gives back what it inherited. */
static struct vgpu_region_file attached;
static struct stat attached_status;
static struct vgpu_identity self;

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/*
 * vgpu_identity_life, remembered for a few ms: a neighbour that keeps asking for too much would otherwise read /proc for every
 * process at every refusal. Only "alive" is remembered, and a process that is gone, not merely a zombie, is always noticed.
 */
static enum vgpu_life life(const struct vgpu_identity *who, const struct vgpu_identity *us, uint64_t start_time_mask)
{
	static struct {
		struct vgpu_identity who;
		int64_t until_ns;
	} alive[VGPU_MAX_SLOTS];	/* under the process' lock; two pids that share a line only cost a read */
	unsigned line = who->pid % VGPU_MAX_SLOTS;
	enum vgpu_life verdict;

	if (who->pid == us->pid && who->start_time == us->start_time && who->pid_namespace == us->pid_namespace)
		return VGPU_ALIVE;
	if (start_time_mask == UINT64_MAX && memcmp(&alive[line].who, who, sizeof(*who)) == 0 &&
	    now_ns() < alive[line].until_ns && vgpu_pid_exists(who->pid))
		return VGPU_ALIVE;
	verdict = vgpu_identity_life(who, us, start_time_mask);
	if (verdict == VGPU_ALIVE && start_time_mask == UINT64_MAX) {
		alive[line].who = *who;
		alive[line].until_ns = now_ns() + ALIVE_FOR_NS;
	}
	return verdict;
}

static void reap(struct vgpu_process *process, struct vgpu_region *region)
{
	vgpu_shareable_sweep(&attached);
	vgpu_slots_reap(region, &self, life);
	if (atomic_load_explicit(&process->slot, memory_order_relaxed) != &region->anonymous &&
	    atomic_load_explicit(&region->anonymous.begin, memory_order_relaxed))
		vgpu_region_reap_anonymous(vgpu_grant_region_path(), &attached);
	vgpu_slots_audit(region);
	process->reaped_at_ns = now_ns();
}

/* A forked child: the parent's mapping, descriptor and table are of no use to it. */
static void drop_inherited(void)
{
	struct stat status;

	vgpu_pointers_clear(&vgpu_charged_pointers);
	if (!attached.region)
		return;
	munmap(attached.region, VGPU_REGION_SIZE);
	/* The application may have closed all descriptors and opened its own under this number. */
	if (fstat(attached.file, &status) == 0 && status.st_dev == attached_status.st_dev &&
	    status.st_ino == attached_status.st_ino)
		close(attached.file);
	attached.region = NULL;
}

static struct vgpu_region *attach(struct vgpu_process *process)
{
	struct vgpu_region *region = atomic_load_explicit(&process->region, memory_order_relaxed);
	char reason[VGPU_FAULT_LENGTH];

	if (region)
		return region;
	if (now_ns() < process->attach_again_ns)
		return NULL;
	drop_inherited();
	self = vgpu_identity_of_self();
	if (!vgpu_region_attach(vgpu_grant_region_path(), vgpu_grant_region_mode(), vgpu_grant_limits(), &self, &attached, reason)) {
		attached.region = NULL;
		process->attach_again_ns = now_ns() + ATTACH_AGAIN_NS;
		if (vgpu_log_is_news(reason))
			VGPU_LOG(VGPU_ERROR, "no memory can be allocated: %s", reason);
		return NULL;
	}
	fstat(attached.file, &attached_status);
	reap(process, attached.region);
	for (uint32_t i = 0; i < vgpu_grant_limits()->device_count; i++)
		process->place[i] = (uint8_t)vgpu_region_place(attached.region, &vgpu_grant_limits()->devices[i]);
	atomic_store_explicit(&process->region, attached.region, memory_order_release);
	return attached.region;
}

static struct vgpu_region_slot *claim(struct vgpu_process *process, struct vgpu_region *region)
{
	struct vgpu_region_slot *slot = atomic_load_explicit(&process->slot, memory_order_relaxed);

	if (slot)
		return slot;
	slot = vgpu_slots_claim(region, &self);
	if (!slot) {
		vgpu_region_join_anonymous(&attached);
		slot = &region->anonymous;
	}
	atomic_store_explicit(&process->slot, slot, memory_order_release);
	return slot;
}

static void follow(struct vgpu_process *process)
{
	vgpu_grant_follow();
	atomic_store_explicit(&process->follow_at_ns, now_ns() + VGPU_FOLLOW_NS, memory_order_relaxed);
}

static CUresult charge(struct vgpu_process *process, unsigned index, uint64_t bytes)
{
	struct vgpu_region *region = attach(process);
	struct vgpu_region_slot *slot = region ? claim(process, region) : NULL;
	struct vgpu_region_device *device;
	unsigned place;
	uint64_t limit;

	if (!slot)
		return CUDA_ERROR_OUT_OF_MEMORY;
	place = vgpu_place(process, index);
	device = &region->devices[place];
	follow(process);
	limit = vgpu_grant_memory(index);
	if (vgpu_reserve(device, slot, place, limit, bytes))
		return CUDA_SUCCESS;
	if (bytes <= limit) {		/* more than the whole share: no death of others makes room */
		reap(process, region);
		if (vgpu_reserve(device, slot, place, limit, bytes))
			return CUDA_SUCCESS;
	}
	return CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult vgpu_charge_within_slowly(unsigned index, uint64_t bytes)
{
	struct vgpu_process *process = vgpu_process();
	struct vgpu_guest guest;
	CUresult result;

	if (vgpu_grant_load() != VGPU_GRANT_OPEN || index >= vgpu_grant_limits()->device_count)
		return CUDA_ERROR_NO_DEVICE;
	guest = vgpu_guest_enter();
	pthread_mutex_lock(&process->lock);
	result = charge(process, index, bytes);
	pthread_mutex_unlock(&process->lock);
	vgpu_guest_leave(guest);
	return result;
}

void vgpu_refused(unsigned index, uint64_t bytes)
{
	struct vgpu_process *process = vgpu_process();
	struct vgpu_region *region = atomic_load_explicit(&process->region, memory_order_acquire);
	struct vgpu_region_device *device;

	if (!region)
		return;
	device = &region->devices[vgpu_place(process, index)];
	atomic_fetch_add_explicit(&device->refused, 1, memory_order_relaxed);
	VGPU_LOG(VGPU_INFO, "device %u: %llu bytes refused, %llu of %llu used", index, (unsigned long long)bytes,
	         (unsigned long long)device->used, (unsigned long long)process->limit_bytes[index]);
}

CUresult vgpu_charge_slowly(unsigned index, uint64_t bytes)
{
	CUresult result = vgpu_charge_within_slowly(index, bytes);

	if (result == CUDA_ERROR_OUT_OF_MEMORY && bytes <= vgpu_process()->limit_bytes[index] && vgpu_reserves_trim(index))
		result = vgpu_charge_within_slowly(index, bytes);
	if (result == CUDA_ERROR_OUT_OF_MEMORY)
		vgpu_refused(index, bytes);
	return result;
}

void vgpu_discharge_stale(struct vgpu_pointer stale)
{
	if (stale.kind == VGPU_POINTER_POOLED)
		vgpu_reserve_forget(stale.bytes);
	else if (stale.kind != VGPU_POINTER_GRAPH && stale.kind != VGPU_POINTER_OWNER)
		vgpu_discharge(stale.device, stale.bytes);
}

void vgpu_note_context(unsigned index, int64_t bytes)
{
	struct vgpu_process *process = vgpu_process();
	struct vgpu_region_slot *slot = atomic_load_explicit(&process->slot, memory_order_acquire);

	if (slot)
		atomic_fetch_add_explicit(&slot->context[vgpu_place(process, index)], (uint64_t)bytes, memory_order_relaxed);
}

void vgpu_share_charge(unsigned index, uint64_t bytes)
{
	struct vgpu_process *process = vgpu_process();
	struct vgpu_region_slot *slot = atomic_load_explicit(&process->slot, memory_order_acquire);

	if (slot)
		vgpu_share(slot, vgpu_place(process, index), bytes);
}

void vgpu_unshare_charge(unsigned index, uint64_t bytes)
{
	struct vgpu_process *process = vgpu_process();
	struct vgpu_region_slot *slot = atomic_load_explicit(&process->slot, memory_order_acquire);

	if (slot)
		vgpu_unshare(slot, vgpu_place(process, index), bytes);
}

void vgpu_hand_over_charge(unsigned index, uint64_t bytes)
{
	struct vgpu_process *process = vgpu_process();
	struct vgpu_region_slot *slot = atomic_load_explicit(&process->slot, memory_order_acquire);
	struct vgpu_region *region = atomic_load_explicit(&process->region, memory_order_relaxed);

	if (slot)
		vgpu_hand_over(region, slot, vgpu_place(process, index), bytes);
}

struct vgpu_region_file vgpu_charge_file(void)
{
	struct vgpu_process *process = vgpu_process();
	struct vgpu_guest guest = vgpu_guest_enter();
	struct vgpu_region_file file;

	pthread_mutex_lock(&process->lock);
	file = attach(process) ? attached : (struct vgpu_region_file){ NULL, -1 };
	pthread_mutex_unlock(&process->lock);
	vgpu_guest_leave(guest);
	return file;
}

struct vgpu_region *vgpu_charge_region(void)
{
	struct vgpu_process *process = vgpu_process();
	struct vgpu_guest guest = vgpu_guest_enter();
	struct vgpu_region *region;

	pthread_mutex_lock(&process->lock);
	follow(process);
	region = attach(process);
	if (region && now_ns() - process->reaped_at_ns > QUERY_REAP_NS)
		reap(process, region);
	pthread_mutex_unlock(&process->lock);
	vgpu_guest_leave(guest);
	return region;
}

uint64_t vgpu_charged(unsigned index)
{
	struct vgpu_region *region = vgpu_charge_region();

	if (!region)
		return UINT64_MAX;
	return atomic_load_explicit(&region->devices[vgpu_place(vgpu_process(), index)].used, memory_order_acquire);
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

struct vgpu_memory_view vgpu_view(unsigned index, uint64_t driver_total, uint64_t driver_free)
{
	struct vgpu_memory_view view;
	uint64_t charged, limit;

	vgpu_reserves_settle();
	charged = vgpu_charged(index);
	limit = atomic_load_explicit(&vgpu_process()->limit_bytes[index], memory_order_relaxed);
	view.total = least(limit, driver_total);
	view.used = least(charged, view.total);
	view.free = least(view.total - view.used, driver_free);
	return view;
}
