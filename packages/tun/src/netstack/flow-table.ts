import { HashIndex, type KeyedHash } from '@twinbore/core/packet'
import type { Source, SourceFlow } from './source.ts'

/** Inside address, outside address, ports, protocol. */
const keyWords = 10
/** So many ids are free before one is given out again: a shell that uses one that is closed hears of it. */
const quarantine = 1024

/** A flow and the key it is found by. The outside end of a UDP flow is all zero: it is an inside endpoint. */
export interface Flow extends SourceFlow {
  readonly id: number
  readonly protocol: number
  readonly source: Source
  readonly insidePort: number
  readonly outside: Int32Array
  readonly outsidePort: number
}

/**
 * Flows by 5-tuple and by id. Keys are words of one typed array, found through open addressing; 72 to 104 bytes a flow.
 * An id is free again when the flow is out of the table *and* its last output was taken.
 */
export class FlowTable<F extends Flow> {
  readonly limit: number
  private readonly hash: KeyedHash
  private readonly index: HashIndex = new HashIndex()
  private keys: Int32Array = new Int32Array(64 * keyWords)
  private readonly flows: (F | undefined)[] = []
  private readonly key: Int32Array = new Int32Array(keyWords)
  /** Bit 0: found by its 5-tuple. Bit 1: the shell may use the id. Bit 2: in the table, but another may have the 5-tuple. */
  private readonly holders: number[] = []
  /** Freed ids; the one that was freed first is given out first. */
  private freeIds: number[] = []
  private freeHead = 0
  private fresh = 0

  constructor(limit: number, hash: KeyedHash) {
    this.limit = limit
    this.hash = hash
  }

  /** Ids in use. */
  get size(): number {
    return this.fresh - (this.freeIds.length - this.freeHead)
  }

  get isFull(): boolean {
    return this.size >= this.limit
  }

  /** The flow of an id. */
  get(id: number): F | undefined {
    return this.flows[id]
  }

  /** The flow of an id that the shell may use. */
  known(id: number): F | undefined {
    return ((this.holders[id] ?? 0) & 2) === 0 ? undefined : this.flows[id]
  }

  find(
    protocol: number,
    inside: Int32Array,
    insidePort: number,
    outside: Int32Array,
    outsidePort: number,
  ): F | undefined {
    const key = this.setKey(protocol, inside, insidePort, outside, outsidePort)
    const hash = this.hash.words(key, 0, keyWords)
    for (let at = this.index.find(hash); at !== -1; at = this.index.findNext(at, hash)) {
      const row = this.index.rowAt(at)
      if (this.hasKey(row)) return this.flows[row]
    }
    return undefined
  }

  /** Takes an id for a flow that will be put in with `insert`. The table isn't full. */
  takeId(): number {
    if (this.freeIds.length - this.freeHead <= quarantine && this.fresh < this.limit + quarantine) return this.fresh++
    const id = this.freeIds[this.freeHead++]!
    if (this.freeHead > 1024 && this.freeHead * 2 > this.freeIds.length) {
      this.freeIds = this.freeIds.slice(this.freeHead)
      this.freeHead = 0
    }
    return id
  }

  insert(flow: F): void {
    const { id } = flow
    const key = this.setKey(flow.protocol, flow.source.words, flow.insidePort, flow.outside, flow.outsidePort)
    if ((id + 1) * keyWords > this.keys.length) {
      const longer = new Int32Array(this.keys.length * 2)
      longer.set(this.keys)
      this.keys = longer
    }
    this.keys.set(key, id * keyWords)
    this.flows[id] = flow
    this.holders[id] = 3
    this.index.insert(this.hash.words(key, 0, keyWords), id)
  }

  /** Takes a flow out: its 5-tuple is free. */
  remove(flow: F): void {
    this.vacate(flow)
    this.letGo(flow.id, 4)
  }

  /** Frees the 5-tuple of a flow that stays known by its id, and counts, until `remove`. */
  vacate(flow: F): void {
    const holders = this.holders[flow.id]!
    if ((holders & 1) === 0) return
    this.index.remove(this.hash.words(this.keys, flow.id * keyWords, keyWords), flow.id)
    this.holders[flow.id] = (holders & ~1) | 4
  }

  /** The shell knows that the flow is over. */
  forget(id: number): void {
    if ((this.holders[id]! & 2) !== 0) this.letGo(id, 2)
  }

  private letGo(id: number, holder: number): void {
    const left = this.holders[id]! & ~holder
    this.holders[id] = left
    if (left !== 0) return
    this.flows[id] = undefined
    this.freeIds.push(id)
  }

  private setKey(
    protocol: number,
    inside: Int32Array,
    insidePort: number,
    outside: Int32Array,
    outsidePort: number,
  ): Int32Array {
    const { key } = this
    for (let i = 0; i < 4; i++) {
      key[i] = inside[i]!
      key[4 + i] = outside[i]!
    }
    key[8] = (insidePort << 16) | outsidePort
    key[9] = protocol
    return key
  }

  private hasKey(row: number): boolean {
    const at = row * keyWords
    for (let i = 0; i < keyWords; i++) if (this.keys[at + i] !== this.key[i]) return false
    return true
  }
}
