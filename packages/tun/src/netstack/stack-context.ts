import { KeyedHash } from '@twinbore/core/packet'
import { sameWords, wordsOfBytes } from './address-words.ts'
import { type NetStackCounters, newCounters } from './counters.ts'
import { DrainSchedule } from './drain-schedule.ts'
import { type Flow, FlowTable } from './flow-table.ts'
import { limitReached } from './icmp/complaints.ts'
import { ErrorSender } from './icmp/error-sender.ts'
import type { NetStackConfig } from './options.ts'
import { OutputQueue } from './output-queue.ts'
import type { FlowResetReason, NetStackOutput } from './outputs.ts'
import type { PacketHead } from './packet-head.ts'
import { PacketWriter } from './packet-writer.ts'
import { type Source, SourceTable } from './source.ts'
import { DeadlineQueue } from './table/deadline-queue.ts'

/** A flow of any protocol, as the stack keeps it. */
export interface StackFlow extends Flow {
  /** Brings timers, schedule and outputs up to date after something was done with the flow. */
  settle(): void
  handleDeadline(now: number): void
}

/** What all parts of one stack share. */
export class StackContext {
  readonly config: NetStackConfig
  readonly counters: NetStackCounters = newCounters()
  readonly sources: SourceTable
  readonly flows: FlowTable<StackFlow>
  /** Deadlines of flows, by id. */
  readonly timers: DeadlineQueue = new DeadlineQueue()
  readonly outputs: OutputQueue<NetStackOutput> = new OutputQueue()
  readonly schedule: DrainSchedule
  readonly writer: PacketWriter
  readonly errors: ErrorSender
  readonly ownAddresses: readonly Int32Array[]

  constructor(config: NetStackConfig) {
    this.config = config
    this.ownAddresses = config.ownAddresses.map(wordsOfBytes)
    this.sources = new SourceTable(config, new KeyedHash(config.random))
    this.flows = new FlowTable(config.limits.maxFlows, new KeyedHash(config.random))
    this.schedule = new DrainSchedule(flow => (flow as StackFlow).settle(), config.superPackets)
    this.writer = new PacketWriter(config)
    this.errors = new ErrorSender(config, this.counters, this.schedule)
  }

  isOwn(words: Int32Array): boolean {
    for (const own of this.ownAddresses) if (sameWords(own, words)) return true
    return false
  }

  /** Whether a packet may open one more flow of its source, which now has `count` of at most `limit`. */
  admits(source: Source, head: PacketHead, count: number, limit: number, now: number): boolean {
    if (count >= limit || this.flows.isFull) {
      this.counters.flowLimitHits++
      this.errors.complain(source, limitReached, head.view, head.offset, head.end - head.offset, now)
      return false
    }
    if (source.newFlows.take(now)) return true
    this.counters.newFlowRateHits++
    return false
  }

  /** The last words about a flow. */
  announceEnd(id: number, reason: FlowResetReason | undefined): void {
    if (reason !== undefined) this.outputs.push({ type: 'flow-reset', flow: id, reason })
    this.outputs.push({ type: 'flow-closed', flow: id })
  }
}
