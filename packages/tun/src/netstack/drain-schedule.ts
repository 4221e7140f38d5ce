import type { PacketBatch } from '@twinbore/core/packet'
import type { Source, SourceFlow } from './source.ts'

/** Packets that one source, and one flow of it, may put into a batch before the next one's turn. */
const quantum = { source: 8, flow: 4 }
/** With super-packets a flow may fill one: 64 KB. */
const superQuantum = { source: 96, flow: 48 }

/**
 * Who sends next: sources take turns, and within a source its flows do. Answers (resets, ICMP) go before the flows of their
 * source. Everything is O(1) a packet, whatever the number of flows.
 */
export class DrainSchedule {
  private readonly afterEmit: (flow: SourceFlow) => void
  private readonly quantum: typeof quantum
  /** Sources with something to send; the first one is at `head`. */
  private ring: (Source | undefined)[] = []
  private head = 0

  /**
   * @param afterEmit - called for each flow that was asked for packets
   * @param superPackets - whether flows emit super-packets
   */
  constructor(afterEmit: (flow: SourceFlow) => void, superPackets = false) {
    this.afterEmit = afterEmit
    this.quantum = superPackets ? superQuantum : quantum
  }

  get isEmpty(): boolean {
    return this.head === this.ring.length
  }

  /** Gives a flow a place at the end of its source's queue, unless it has one. */
  add(source: Source, flow: SourceFlow): void {
    if (flow.isScheduled || source.isGone) return
    flow.isScheduled = true
    flow.nextScheduled = undefined
    if (source.lastScheduled) source.lastScheduled.nextScheduled = flow
    else source.firstScheduled = flow
    source.lastScheduled = flow
    this.addSource(source)
  }

  /** Gives a source that has answers a place. */
  addSource(source: Source): void {
    if (source.isScheduled || source.isGone) return
    source.isScheduled = true
    this.ring.push(source)
  }

  /** Fills a batch. Returns how many packets were added, those of super-packets each for itself. */
  drain(batch: PacketBatch, now: number): number {
    let added = 0
    while (!batch.full && this.head < this.ring.length) {
      const source = this.takeSource()
      if (source.isGone) continue
      added += this.serve(source, batch, now)
      if (source.answers.length > 0 || source.firstScheduled) this.addSource(source)
    }
    return added
  }

  private serve(source: Source, batch: PacketBatch, now: number): number {
    const { quantum } = this
    let answered = 0
    let sent = 0
    while (answered < source.answers.length && !batch.full && sent < quantum.source) {
      // An answer is at most 1280 bytes; a batch with shorter slots loses it.
      if (batch.push(source.answers[answered++]!) !== -1) sent++
    }
    if (answered > 0) source.answers.splice(0, answered)
    while (!batch.full && sent < quantum.source && source.firstScheduled) {
      const flow = this.takeFlow(source)
      // It counts as waiting until it is known whether it shall: one that wants to send but added nothing into a batch with
      // room would turn in circles.
      flow.isScheduled = true
      const added = flow.emit(batch, now, quantum.flow)
      sent += added
      this.afterEmit(flow)
      flow.isScheduled = false
      if (flow.wantsToSend && (added > 0 || batch.full)) this.add(source, flow)
    }
    return sent
  }

  private takeSource(): Source {
    const source = this.ring[this.head]!
    this.ring[this.head++] = undefined
    if (this.head === this.ring.length) {
      this.ring = []
      this.head = 0
    } else if (this.head > 1024 && this.head * 2 > this.ring.length) {
      this.ring = this.ring.slice(this.head)
      this.head = 0
    }
    source.isScheduled = false
    return source
  }

  private takeFlow(source: Source): SourceFlow {
    const flow = source.firstScheduled!
    source.firstScheduled = flow.nextScheduled
    if (!flow.nextScheduled) source.lastScheduled = undefined
    flow.isScheduled = false
    flow.nextScheduled = undefined
    return flow
  }
}
