// Virtual reassembly (RFC 6146 §3.4): later fragments have no ports, so the first one's translation is remembered for
// them, and those that come before it are held. Nothing is put together; the receiver does that.
//
// Refused: overlapping pieces, and then the rest of the datagram (RFC 5722 §3, applied to IPv4 too); more than 45 pieces;
// more datagrams per sender or bytes in all than configured. Exact duplicates are ignored (RFC 8200 §4.5).
import { DropReason, HashIndex, type KeyedHash } from '@twinbore/core/packet'
import { V4_MAPPED } from './address.ts'
import type { PatConfig } from './options.ts'
import type { PacketFacts } from './packet-facts.ts'
import { RowNumbers } from './table/rows.ts'

/** RFC 8200 has no limit, Linux stops at 64 KiB; 45 pieces of 1500 bytes are that. */
const maxPieces = 45
const senderBuckets = 4096
/** Kept per held piece beside its bytes. */
const heldOverheadBytes = 128

/** One fragmented datagram that is passing by. */
export class FragmentedDatagram {
  readonly row: number
  readonly hash: number
  readonly sender: number
  readonly openedAt: number
  readonly key: Int32Array
  /** `waiting` for the first fragment, `open` when the translation is known, `refused` for good. */
  state: 'waiting' | 'open' | 'refused' = 'waiting'
  /** The address that replaces the source (outbound) or the destination (inbound). */
  readonly address: Int32Array = new Int32Array(4)
  /** The identification that all fragments get (outbound). */
  identification = 0
  readonly held: Uint8Array[] = []
  private readonly begins: Uint16Array = new Uint16Array(maxPieces)
  private readonly ends: Uint16Array = new Uint16Array(maxPieces)
  private pieces = 0
  private received = 0
  private total = -1

  constructor(row: number, hash: number, sender: number, key: Int32Array, now: number) {
    this.row = row
    this.hash = hash
    this.sender = sender
    this.key = key
    this.openedAt = now
  }

  get isComplete(): boolean {
    return this.received === this.total
  }

  /** Notes one piece. */
  note(begin: number, end: number, isLast: boolean): 'new' | 'duplicate' | 'overlap' | 'too-many' {
    if (isLast && this.total !== -1 && this.total !== end) return 'overlap'
    if (!isLast && this.total !== -1 && end > this.total) return 'overlap'
    for (let i = 0; i < this.pieces; i++) {
      if (this.begins[i] === begin && this.ends[i] === end) return 'duplicate'
      if (begin < this.ends[i]! && end > this.begins[i]!) return 'overlap'
      if (isLast && this.ends[i]! > end) return 'overlap'
    }
    if (this.pieces === maxPieces) return 'too-many'
    this.begins[this.pieces] = begin
    this.ends[this.pieces++] = end
    this.received += end - begin
    if (isLast) this.total = end
    return 'new'
  }
}

export class FragmentCache {
  overlaps = 0
  heldBytes = 0
  /** Held fragments whose first one never came, or was refused. */
  abandoned = 0
  /** Why `admit` returned `undefined`. */
  reason: DropReason = DropReason.fragmentLimit
  /** In the order of their first piece: the first is the oldest. */
  private readonly datagrams: Set<FragmentedDatagram> = new Set()
  private readonly byRow: (FragmentedDatagram | undefined)[] = []
  private readonly rows: RowNumbers
  private readonly index: HashIndex = new HashIndex()
  private readonly perSender: Uint16Array = new Uint16Array(senderBuckets)
  private readonly hash: KeyedHash
  private readonly config: PatConfig

  constructor(config: PatConfig, hash: KeyedHash) {
    this.config = config
    this.hash = hash
    this.rows = new RowNumbers(config.maxFragmentedDatagrams)
  }

  get count(): number {
    return this.datagrams.size
  }

  get memoryBytes(): number {
    return this.heldBytes + this.datagrams.size * 512 + this.index.memoryBytes + this.perSender.byteLength
  }

  get deadline(): number | undefined {
    for (const oldest of this.datagrams) return oldest.openedAt + this.config.fragmentTimeoutMs
    return undefined
  }

  /** Finds or begins the datagram of a fragment and notes the piece. `undefined` when the fragment must be dropped, see `reason`. */
  admit(facts: PacketFacts, now: number): FragmentedDatagram | undefined {
    this.expire(now)
    const begin = facts.fragmentOffset
    const end = begin + facts.end - facts.at
    this.reason = DropReason.malformed
    if (end === begin || end > 65_535 || (facts.moreFragments && (end & 7) !== 0)) return undefined
    const datagram = this.find(facts) ?? this.begin(facts, now)
    if (!datagram) return undefined
    if (datagram.state === 'refused') {
      this.reason = DropReason.fragmentLimit
      return undefined
    }
    switch (datagram.note(begin, end, !facts.moreFragments)) {
      case 'new':
        return datagram
      case 'duplicate':
        this.reason = DropReason.replayed
        return undefined
      case 'overlap':
        this.overlaps++
        this.reason = DropReason.malformed
        this.refuse(datagram)
        return undefined
      default:
        this.reason = DropReason.fragmentLimit
        this.refuse(datagram)
        return undefined
    }
  }

  /** Keeps a copy of an early fragment until the first one comes. False when there is no room. */
  hold(datagram: FragmentedDatagram, view: DataView, offset: number, length: number): boolean {
    const cost = length + heldOverheadBytes
    if (this.heldBytes + cost > this.config.maxHeldFragmentBytes) {
      this.refuse(datagram)
      return false
    }
    datagram.held.push(new Uint8Array(view.buffer, view.byteOffset + offset, length).slice())
    this.heldBytes += cost
    return true
  }

  /** Takes the held fragments of a datagram whose translation is now known. */
  release(datagram: FragmentedDatagram): Uint8Array[] {
    const held = datagram.held.splice(0)
    for (const bytes of held) this.heldBytes -= bytes.length + heldOverheadBytes
    return held
  }

  /** Drops a datagram's held fragments and whatever still comes of it. */
  refuse(datagram: FragmentedDatagram): void {
    datagram.state = 'refused'
    this.abandoned += datagram.held.length
    this.release(datagram)
  }

  /** Forgets a datagram of which everything went through, so that its identification is free again. */
  finish(datagram: FragmentedDatagram): void {
    if (datagram.isComplete && datagram.state === 'open') this.remove(datagram)
  }

  /** Forgets the datagrams from or to an inside address. */
  removeInside(words: Int32Array): void {
    for (const datagram of this.datagrams) {
      const isSource = words.every((word, i) => datagram.key[i] === word)
      if (isSource || words.every((word, i) => datagram.address[i] === word)) this.remove(datagram)
    }
  }

  expire(now: number): void {
    for (const oldest of this.datagrams) {
      if (oldest.openedAt + this.config.fragmentTimeoutMs > now) return
      this.remove(oldest)
    }
  }

  private find(facts: PacketFacts): FragmentedDatagram | undefined {
    const hash = this.hashOf(facts)
    for (let at = this.index.find(hash); at !== -1; at = this.index.findNext(at, hash)) {
      const datagram = this.byRow[this.index.rowAt(at)]!
      const { key } = datagram
      if (
        key[0] === facts.sourceA &&
        key[1] === facts.sourceB &&
        key[2] === facts.sourceC &&
        key[3] === facts.sourceD &&
        key[4] === facts.destinationA &&
        key[5] === facts.destinationB &&
        key[6] === facts.destinationC &&
        key[7] === facts.destinationD &&
        key[8] === facts.fragmentId &&
        key[9] === protocolOf(facts)
      ) {
        return datagram
      }
    }
    return undefined
  }

  private begin(facts: PacketFacts, now: number): FragmentedDatagram | undefined {
    const sender = this.hash.words4(facts.sourceA, facts.sourceB, facts.sourceC, facts.sourceD) & (senderBuckets - 1)
    if (this.perSender[sender]! >= this.config.maxFragmentedDatagramsPerSender) {
      this.reason = DropReason.fragmentLimit
      return undefined
    }
    if (this.rows.count === this.rows.limit)
      for (const oldest of this.datagrams) {
        this.remove(oldest)
        break
      }
    const key = Int32Array.of(
      facts.sourceA,
      facts.sourceB,
      facts.sourceC,
      facts.sourceD,
      facts.destinationA,
      facts.destinationB,
      facts.destinationC,
      facts.destinationD,
      facts.fragmentId,
      protocolOf(facts),
    )
    const datagram = new FragmentedDatagram(this.rows.take(), this.hashOf(facts), sender, key, now)
    this.byRow[datagram.row] = datagram
    this.index.insert(datagram.hash, datagram.row)
    this.datagrams.add(datagram)
    this.perSender[sender] = this.perSender[sender]! + 1
    return datagram
  }

  private remove(datagram: FragmentedDatagram): void {
    this.abandoned += datagram.held.length
    this.release(datagram)
    this.datagrams.delete(datagram)
    this.index.remove(datagram.hash, datagram.row)
    this.byRow[datagram.row] = undefined
    this.rows.give(datagram.row)
    this.perSender[datagram.sender] = this.perSender[datagram.sender]! - 1
  }

  private hashOf(facts: PacketFacts): number {
    const source =
      facts.version === 4 ? facts.sourceD : this.hash.words4(facts.sourceA, facts.sourceB, facts.sourceC, facts.sourceD)
    return this.hash.words6(
      source,
      facts.destinationB,
      facts.destinationC === V4_MAPPED ? 0 : facts.destinationC,
      facts.destinationD,
      facts.fragmentId,
      protocolOf(facts),
    )
  }
}

/** IPv4 tells datagrams apart by protocol too (RFC 791 §3.2), IPv6 doesn't (RFC 8200 §4.5). */
function protocolOf(facts: PacketFacts): number {
  return facts.version === 4 ? facts.ipProtocol : 0
}
