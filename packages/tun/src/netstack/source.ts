import { HashIndex, type KeyedHash, type PacketBatch } from '@twinbore/core/packet'
import { sameWords } from './address-words.ts'
import type { NetStackConfig } from './options.ts'
import { TokenBucket } from './table/token-bucket.ts'
import { MemoryBudget } from './tcp/memory-budget.ts'
import type { TcpPath } from './tcp/tcp-config.ts'

/** What a source and the schedule need to know of a flow. */
export interface SourceFlow {
  /** Whether the flow waits for its turn to send, and who waits behind it. */
  isScheduled: boolean
  nextScheduled: SourceFlow | undefined
  /** Whether `emit` would add a packet. */
  readonly wantsToSend: boolean
  /** Appends packets to a batch, about `most` of them, and returns how many; those of super-packets count each for itself. */
  emit(batch: PacketBatch, now: number, most: number): number
}

/** An inside address: whose limits a flow counts against. About 500 bytes, without its flows. */
export class Source {
  readonly row: number
  readonly words: Int32Array
  /** Set by `removeSource` or when the table needed the place: nothing of it is sent any more. */
  isGone = false
  /** Kept although idle: somebody configured it. */
  isPinned = false
  tcpFlows = 0
  udpFlows = 0
  dials = 0
  /** Bytes of fragments that wait for others. */
  fragmentBytes = 0
  readonly flows: Set<SourceFlow> = new Set()
  readonly newFlows: TokenBucket
  readonly errors: TokenBucket
  readonly echoes: TokenBucket
  readonly memory: MemoryBudget
  /** Resets, ICMP messages: whole packets, sent before those of flows. */
  readonly answers: Uint8Array[] = []
  /** Flows that have something to send, in the order of their turns. */
  firstScheduled: SourceFlow | undefined
  lastScheduled: SourceFlow | undefined
  isScheduled = false
  private currentPath: TcpPath

  constructor(row: number, words: Int32Array, config: NetStackConfig, memory: MemoryBudget) {
    const { limits } = config
    this.row = row
    this.words = words
    this.newFlows = new TokenBucket(limits.newFlowsPerSecondPerSource, limits.newFlowBurstPerSource)
    this.errors = new TokenBucket(limits.errorsPerSecondPerSource)
    this.echoes = new TokenBucket(limits.echoRequestsPerSecondPerSource)
    this.memory = new MemoryBudget(limits.maxBufferBytesPerSource, memory)
    this.currentPath = { mtu: config.mtu, memory: this.memory }
  }

  get mtu(): number {
    return this.currentPath.mtu
  }

  set mtu(mtu: number) {
    this.currentPath = { mtu, memory: this.memory }
  }

  get path(): TcpPath {
    return this.currentPath
  }
}

/** Sources by address. Idle ones make room for new ones, those in use never do. */
export class SourceTable {
  readonly memory: MemoryBudget
  private readonly config: NetStackConfig
  private readonly hash: KeyedHash
  private readonly index: HashIndex = new HashIndex()
  private readonly rows: (Source | undefined)[] = []
  private readonly freeRows: number[] = []
  /** Without flows, and nobody configured them; the one that is idle for longest comes first. */
  private readonly idle: Set<Source> = new Set()
  private count = 0

  constructor(config: NetStackConfig, hash: KeyedHash) {
    this.config = config
    this.hash = hash
    this.memory = new MemoryBudget(config.limits.maxBufferBytes)
  }

  get size(): number {
    return this.count
  }

  find(words: Int32Array): Source | undefined {
    const hash = this.hash.words(words, 0, 4)
    for (let at = this.index.find(hash); at !== -1; at = this.index.findNext(at, hash)) {
      const source = this.rows[this.index.rowAt(at)]!
      if (sameWords(source.words, words)) return source
    }
    return undefined
  }

  /** Finds a source or makes one; `undefined` when the table is full of sources in use. */
  findOrAdd(words: Int32Array): Source | undefined {
    return this.find(words) ?? this.add(words)
  }

  addFlow(source: Source, flow: SourceFlow): void {
    source.flows.add(flow)
    this.idle.delete(source)
  }

  removeFlow(source: Source, flow: SourceFlow): void {
    source.flows.delete(flow)
    if (source.flows.size === 0 && !source.isPinned && !source.isGone) this.idle.add(source)
  }

  pin(source: Source): void {
    source.isPinned = true
    this.idle.delete(source)
  }

  remove(source: Source): void {
    source.isGone = true
    source.answers.length = 0
    this.idle.delete(source)
    this.index.remove(this.hash.words(source.words, 0, 4), source.row)
    this.rows[source.row] = undefined
    this.freeRows.push(source.row)
    this.count--
  }

  private add(words: Int32Array): Source | undefined {
    if (this.count >= this.config.limits.maxSources) {
      const [oldest] = this.idle
      if (!oldest) return undefined
      this.remove(oldest)
    }
    const row = this.freeRows.pop() ?? this.rows.length
    const source = new Source(row, words.slice(), this.config, this.memory)
    this.rows[row] = source
    this.index.insert(this.hash.words(words, 0, 4), row)
    this.idle.add(source)
    this.count++
    return source
  }
}
