import { DropReason, type PacketBatch, Verdict, wholePacketBytes } from '@twinbore/core/packet'
import type { Milliseconds } from '@twinbore/core/runtime'

/** A queue that was not empty for so long is a standing one; bursts are gone sooner (RFC 8289 §4.3). */
const PATIENCE_MS = 100
/** Shares are counted over this time, and then changed. */
const WINDOW_MS = 10
/** What a packet costs besides its bytes, in bytes that cost as much. */
const PACKET_COST = 1000
/** Whoever takes no more than this in a window is never cut down: some 15 packets. */
const LEAST_ALLOWANCE = 32_768
/**
 * The level is no lower than this part of a fair share of what was handled lately. Beyond that the queue stands for other
 * reasons, such as a busy machine.
 */
const LEAST_PART = 0.5
/** For how much longer than a window a good one counts as what can be handled. */
const CAPACITY_DECAY = 0.99
/** More than a fair share may be chance by so much. */
const SLACK = 1.25
const DECREASE = 0.8
const INCREASE = 1.25
/** So many windows without a standing queue and without a drop, and the work is over. */
const CALM_WINDOWS = 20

/**
 * Keeps a source that many share, such as the receive buffer of a UDP socket, from being filled by a few. As long as the
 * source is drained now and then it does nothing. When it has not been for 100 ms, packets come faster than they are
 * handled, and soon the system drops whatever it has no room for. From then on those who take most are cut down, before the
 * costly steps, to a level that sinks while the queue stands and rises when it does not, but not far below a fair share (the
 * idea of AFD: "Approximate fairness through differential dropping", Pan et al. 2003). Those below the level lose nothing. When
 * all take about the same, nobody is cut down.
 *
 * Owners of packets are small integers of any kind. Memory: 16 bytes an owner, from the first overload on.
 */
export class FairShares {
  private standingSince: Milliseconds | undefined
  private isActive = false
  /** What each owner has taken in the window of `windows`: bytes, and so many for each packet. */
  private costs = new Float64Array(0)
  private windows = new Uint32Array(0)
  /** The number of the window under way; owners with another one have taken nothing in it. */
  private window = 0
  private windowBegan: Milliseconds = 0
  /** Most that one owner may take in a millisecond. */
  private level = Number.POSITIVE_INFINITY
  /** Most that one owner may take in this window. */
  private allowance = Number.POSITIVE_INFINITY
  private seen = new Int32Array(0)
  /** How many of `seen` have taken something in this window. */
  private owners = 0
  /** What was handled in a millisecond, lately. */
  private capacity = 0
  private passed = 0
  private largest = 0
  private dropped = 0
  private wasDrained = false
  private calm = 0

  /** Whether the source is overloaded. */
  get active(): boolean {
    return this.isActive
  }

  /** Stage, right behind the source: drops, as `unfairShare`, what is beyond the level. */
  police(batch: PacketBatch, now: Milliseconds): void {
    if (!this.isActive) {
      if (this.standingSince === undefined || now - this.standingSince < PATIENCE_MS) return
      this.begin(now)
    }
    if (now - this.windowBegan >= WINDOW_MS) this.endWindow(now)
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] === Verdict.forward) this.count(batch, slot)
    }
  }

  /** Tells whether the source was drained: call it after each batch. */
  settle(drained: boolean, now: Milliseconds): void {
    if (drained) {
      this.standingSince = undefined
      this.wasDrained = true
    } else this.standingSince ??= now
  }

  private count(batch: PacketBatch, slot: number): void {
    const owner = batch.owners[slot]!
    if (owner < 0) return
    if (owner >= this.costs.length) this.grow(owner)
    const packets = batch.segments[slot]!
    const bytes = packets === 1 ? batch.lengths[slot]! : wholePacketBytes(batch, slot)
    const cost = bytes + packets * PACKET_COST
    let taken = cost
    if (this.windows[owner] === this.window) taken += this.costs[owner]!
    else {
      this.windows[owner] = this.window
      this.seen[this.owners++] = owner
    }
    this.costs[owner] = taken
    if (taken > this.largest) this.largest = taken
    // The packet that reaches the allowance still passes, so that everybody has at least one.
    if (taken - cost >= this.allowance) {
      this.dropped++
      batch.drop(slot, DropReason.unfairShare)
    } else this.passed += cost
  }

  private begin(now: Milliseconds): void {
    this.isActive = true
    this.level = Number.POSITIVE_INFINITY
    this.capacity = 0
    this.calm = 0
    this.beginWindow(now, WINDOW_MS)
  }

  private endWindow(now: Milliseconds): void {
    const time = now - this.windowBegan
    this.capacity = Math.max(this.passed / time, this.capacity * CAPACITY_DECAY)
    const stands = this.standingSince !== undefined && !this.wasDrained
    // A window ends with the first batch after it: where little comes, it has lasted for as long as several.
    const lasted = Math.floor(time / WINDOW_MS)
    if (!stands) this.level *= INCREASE ** lasted
    else if (this.owners > 0) {
      const fair = this.fairShare(this.capacity * time)
      const least = Math.max((SLACK * this.passed) / this.owners, LEAST_PART * fair)
      this.level = Math.max(least, Math.min(this.level * time, this.largest) * DECREASE) / time
    }
    this.calm = stands || this.dropped > 0 ? 0 : this.calm + lasted
    if (this.calm < CALM_WINDOWS) this.beginWindow(now, time)
    else {
      this.isActive = false
      this.allowance = Number.POSITIVE_INFINITY
    }
  }

  /** The level at which all owners of the window together take so much: those below it what they want, the others as much each. */
  private fairShare(total: number): number {
    let share = total / this.owners
    for (let left = 8; left > 0; left--) {
      let small = 0
      let large = 0
      for (let n = 0; n < this.owners; n++) {
        const cost = this.costs[this.seen[n]!]!
        if (cost <= share) small += cost
        else large++
      }
      if (large === 0) return share
      share = (total - small) / large
    }
    return share
  }

  /** @param before - how long the window before it took: what waited meanwhile comes now. */
  private beginWindow(now: Milliseconds, before: Milliseconds): void {
    this.window = (this.window + 1) >>> 0
    this.windowBegan = now
    this.allowance = Math.max(LEAST_ALLOWANCE, this.level * Math.max(WINDOW_MS, before))
    this.owners = 0
    this.passed = 0
    this.largest = 0
    this.dropped = 0
    this.wasDrained = false
  }

  private grow(owner: number): void {
    const size = Math.max(1024, 2 ** Math.ceil(Math.log2(owner + 1)))
    const seen = new Int32Array(size)
    seen.set(this.seen)
    this.seen = seen
    const costs = new Float64Array(size)
    costs.set(this.costs)
    this.costs = costs
    const windows = new Uint32Array(size)
    windows.set(this.windows)
    this.windows = windows
  }
}
