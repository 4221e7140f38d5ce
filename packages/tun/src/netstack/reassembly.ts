// Puts fragmented datagrams together (RFC 791 §3.2, RFC 815, RFC 8200 §4.5), as the host at the end of the path must.
//
// Refused for good, until the time is over: a datagram of which pieces overlap (RFC 5722 §3, for IPv4 too) or disagree about
// its end, or with too many pieces. Exact duplicates are ignored. `checkPacket` has already refused tiny first pieces
// (RFC 1858, RFC 7112). Atomic fragments (RFC 6946) never come here. Nothing is put together until all is there, so
// that memory is only ever what has arrived.
import {
  DropReason,
  HashIndex,
  IPV6_HEADER_BYTES,
  IpProtocol,
  Ipv4Field,
  Ipv6Field,
  ipv4FragmentOffset,
  ipv4HeaderLength,
  ipv4Identification,
  ipv4MoreFragments,
  ipv6FragmentHeader,
  ipv6FragmentIdentification,
  ipv6FragmentOffset,
  ipv6MoreFragments,
  type KeyedHash,
  writeIpv4HeaderChecksum,
} from '@twinbore/core/packet'
import type { NetStackCounters } from './counters.ts'
import type { NetStackConfig } from './options.ts'
import type { PacketHead } from './packet-head.ts'
import type { Source } from './source.ts'

/** Source, destination, identification, and what of it is IPv4's: the protocol (RFC 791 §3.2). */
const keyWords = 10
const maxPacketBytes = 65_535
/** How much of the memory for fragments one source may hold, so that a flood doesn't push out what others send. */
const shareOfOne = 0.25
/** Counted for each datagram and for each piece beside its bytes. */
const datagramOverheadBytes = 256
const pieceOverheadBytes = 96

interface Piece {
  readonly begin: number
  readonly end: number
  readonly bytes: Uint8Array
}

/** A datagram of which some pieces are there. */
export class PartialDatagram {
  readonly row: number
  readonly hash: number
  readonly key: Int32Array
  readonly source: Source
  readonly version: number
  readonly expiresAt: number
  isRefused = false
  /** What stands before the data of the first piece, IPv6: without the fragment header. */
  header: Uint8Array | undefined
  /** The first piece as it came, for the error when the others don't. */
  first: Uint8Array | undefined
  pieces: Piece[] = []
  receivedBytes = 0
  /** Where the data ends; -1 until the last piece came. */
  totalBytes = -1
  heldBytes = 0

  constructor(row: number, hash: number, key: Int32Array, source: Source, version: number, expiresAt: number) {
    this.row = row
    this.hash = hash
    this.key = key
    this.source = source
    this.version = version
    this.expiresAt = expiresAt
  }

  /** What a piece is to those that are there. */
  relation(begin: number, end: number, isLast: boolean): 'new' | 'duplicate' | 'conflict' {
    if (this.totalBytes !== -1 && (end > this.totalBytes || (isLast && end !== this.totalBytes))) return 'conflict'
    for (const piece of this.pieces) {
      if (piece.begin === begin && piece.end === end) return 'duplicate'
      if (begin < piece.end && end > piece.begin) return 'conflict'
      if (isLast && piece.end > end) return 'conflict'
    }
    return 'new'
  }
}

export class Reassembly {
  /** Called for a datagram that ran out of time and whose first piece is there. */
  readonly onTimeout: (source: Source, firstPiece: Uint8Array, now: number) => void
  /** Why `add` gave nothing: 0 when the piece was kept. */
  reason: 0 | DropReason = 0
  private readonly config: NetStackConfig
  private readonly counters: NetStackCounters
  private readonly hash: KeyedHash
  private readonly index: HashIndex = new HashIndex()
  private readonly rows: (PartialDatagram | undefined)[] = []
  private readonly freeRows: number[] = []
  /** Of each family those that began first come first, so that they expire in this order. */
  private readonly v4: Set<PartialDatagram> = new Set()
  private readonly v6: Set<PartialDatagram> = new Set()
  private readonly bySource: Map<Source, Set<PartialDatagram>> = new Map()
  private readonly key: Int32Array = new Int32Array(keyWords)
  private bytes = 0

  constructor(
    config: NetStackConfig,
    counters: NetStackCounters,
    hash: KeyedHash,
    onTimeout: (source: Source, firstPiece: Uint8Array, now: number) => void,
  ) {
    this.config = config
    this.counters = counters
    this.hash = hash
    this.onTimeout = onTimeout
  }

  /** Datagrams that are being put together or refused. */
  get size(): number {
    return this.v4.size + this.v6.size
  }

  get heldBytes(): number {
    return this.bytes
  }

  get deadline(): number | undefined {
    const [oldest4] = this.v4
    const [oldest6] = this.v6
    if (!oldest4 || !oldest6) return (oldest4 ?? oldest6)?.expiresAt
    return Math.min(oldest4.expiresAt, oldest6.expiresAt)
  }

  /** Takes a piece. Returns the whole packet, without traces of fragmentation, when it was the last that lacked. */
  add(head: PacketHead, source: Source, now: number): Uint8Array | undefined {
    this.handleDeadline(now)
    this.reason = 0
    const { view, offset, end, version } = head
    let begin: number
    let dataAt = head.at
    let more: boolean
    if (version === 4) {
      begin = ipv4FragmentOffset(view, offset)
      more = ipv4MoreFragments(view, offset)
      dataAt = offset + ipv4HeaderLength(view, offset)
    } else {
      const fragment = ipv6FragmentHeader(view, offset, end - offset)
      begin = ipv6FragmentOffset(view, fragment)
      more = ipv6MoreFragments(view, fragment)
      dataAt = fragment + 8
    }
    const until = begin + end - dataAt
    if (until === begin || until > maxPacketBytes || (more && (until & 7) !== 0)) return this.fail(DropReason.malformed)
    const datagram = this.find(head) ?? this.begin(head, source, now)
    if (datagram.isRefused) return this.fail(DropReason.fragmentLimit)
    const relation = datagram.relation(begin, until, !more)
    if (relation === 'duplicate') return this.fail(DropReason.replayed)
    if (relation === 'conflict') return this.refuse(datagram, DropReason.malformed)
    if (datagram.pieces.length >= this.config.limits.maxFragmentsPerDatagram) {
      return this.refuse(datagram, DropReason.fragmentLimit)
    }
    this.keep(datagram, head, begin, until, dataAt, more)
    if (datagram.receivedBytes === datagram.totalBytes) return this.finish(datagram)
    this.makeRoom(source)
    return undefined
  }

  /** Forgets what ran out of time. */
  handleDeadline(now: number): void {
    for (const family of [this.v4, this.v6]) {
      for (const datagram of family) {
        if (datagram.expiresAt > now) break
        this.remove(datagram)
        this.counters.reassemblyTimeouts++
        if (datagram.first && !datagram.isRefused) this.onTimeout(datagram.source, datagram.first, now)
      }
    }
  }

  removeSource(source: Source): void {
    for (const datagram of this.bySource.get(source) ?? []) this.remove(datagram)
  }

  private fail(reason: DropReason): undefined {
    this.reason = reason
    return undefined
  }

  private refuse(datagram: PartialDatagram, reason: DropReason): undefined {
    this.counters.reassemblyRefusals++
    datagram.isRefused = true
    datagram.pieces = []
    datagram.first = undefined
    datagram.header = undefined
    this.account(datagram, datagramOverheadBytes - datagram.heldBytes)
    return this.fail(reason)
  }

  private keep(
    datagram: PartialDatagram,
    head: PacketHead,
    begin: number,
    end: number,
    dataAt: number,
    more: boolean,
  ): void {
    const { bytes, offset } = head
    let cost = end - begin + pieceOverheadBytes
    datagram.pieces.push({ begin, end, bytes: bytes.slice(dataAt, head.end) })
    datagram.receivedBytes += end - begin
    if (!more) datagram.totalBytes = end
    if (begin === 0) {
      datagram.first = bytes.slice(offset, head.end)
      datagram.header = headerOf(head, dataAt)
      cost += datagram.first.length + datagram.header.length
    }
    this.account(datagram, cost)
  }

  private account(datagram: PartialDatagram, bytes: number): void {
    datagram.heldBytes += bytes
    datagram.source.fragmentBytes += bytes
    this.bytes += bytes
  }

  private finish(datagram: PartialDatagram): Uint8Array | undefined {
    this.remove(datagram)
    const header = datagram.header!
    const isV4 = datagram.version === 4
    const length = header.length + datagram.totalBytes
    if (length > maxPacketBytes + (isV4 ? 0 : IPV6_HEADER_BYTES)) return this.fail(DropReason.malformed)
    const packet = new Uint8Array(length)
    const view = new DataView(packet.buffer)
    packet.set(header)
    for (const piece of datagram.pieces) packet.set(piece.bytes, header.length + piece.begin)
    if (isV4) {
      view.setUint16(Ipv4Field.totalLength, length)
      view.setUint16(Ipv4Field.flagsAndFragmentOffset, 0)
      writeIpv4HeaderChecksum(view, 0)
    } else view.setUint16(Ipv6Field.payloadLength, length - IPV6_HEADER_BYTES)
    this.counters.reassembled++
    return packet
  }

  private find(head: PacketHead): PartialDatagram | undefined {
    const hash = this.hash.words(this.setKey(head), 0, keyWords)
    for (let at = this.index.find(hash); at !== -1; at = this.index.findNext(at, hash)) {
      const datagram = this.rows[this.index.rowAt(at)]!
      if (datagram.key.every((word, i) => word === this.key[i])) return datagram
    }
    return undefined
  }

  /** Begins a datagram whose key is set. The source's oldest one makes room when it has too many. */
  private begin(head: PacketHead, source: Source, now: number): PartialDatagram {
    const own = this.bySource.get(source)
    if (own && own.size >= Math.max(1, this.config.limits.maxReassembliesPerSource)) this.evict(own)
    const timeout = head.version === 4 ? this.config.reassemblyTimeoutMsV4 : this.config.reassemblyTimeoutMsV6
    const hash = this.hash.words(this.key, 0, keyWords)
    const row = this.freeRows.pop() ?? this.rows.length
    const datagram = new PartialDatagram(row, hash, this.key.slice(), source, head.version, now + timeout)
    this.rows[row] = datagram
    this.index.insert(hash, row)
    this.familyOf(datagram).add(datagram)
    const list = this.bySource.get(source)
    if (list) list.add(datagram)
    else this.bySource.set(source, new Set([datagram]))
    this.account(datagram, datagramOverheadBytes)
    return datagram
  }

  /** The oldest go until what is left fits: those of a source that has more than its share, then those of all. */
  private makeRoom(source: Source): void {
    const { maxReassemblyBytes } = this.config.limits
    const own = this.bySource.get(source)
    while (own && own.size > 1 && source.fragmentBytes > maxReassemblyBytes * shareOfOne) this.evict(own)
    while (this.bytes > maxReassemblyBytes && this.size > 0) {
      const [oldest4] = this.v4
      const [oldest6] = this.v6
      this.evict(!oldest6 || (oldest4 && oldest4.expiresAt <= oldest6.expiresAt) ? this.v4 : this.v6)
    }
  }

  private evict(from: Set<PartialDatagram>): void {
    for (const oldest of from) {
      this.counters.reassemblyEvictions++
      this.remove(oldest)
      return
    }
  }

  private remove(datagram: PartialDatagram): void {
    this.familyOf(datagram).delete(datagram)
    this.index.remove(datagram.hash, datagram.row)
    this.rows[datagram.row] = undefined
    this.freeRows.push(datagram.row)
    this.account(datagram, -datagram.heldBytes)
    const list = this.bySource.get(datagram.source)
    list?.delete(datagram)
    if (list?.size === 0) this.bySource.delete(datagram.source)
  }

  private familyOf(datagram: PartialDatagram): Set<PartialDatagram> {
    return datagram.version === 4 ? this.v4 : this.v6
  }

  private setKey(head: PacketHead): Int32Array {
    const { key } = this
    const { view, offset } = head
    key.set(head.source)
    key.set(head.destination, 4)
    if (head.version === 4) {
      key[8] = ipv4Identification(view, offset)
      key[9] = head.protocol
    } else {
      key[8] = ipv6FragmentIdentification(view, ipv6FragmentHeader(view, offset, head.end - offset))
      // IPv6 tells datagrams apart without the protocol, which only the first piece knows for certain.
      key[9] = IpProtocol.fragment
    }
    return key
  }
}

/** The headers that go before the data. In IPv6 the one that named the fragment header names what follows it. */
function headerOf(head: PacketHead, dataAt: number): Uint8Array {
  const { view, bytes, offset, version } = head
  if (version === 4) return bytes.slice(offset, dataAt)
  const fragment = dataAt - 8
  const header = bytes.slice(offset, fragment)
  let field: number = Ipv6Field.nextHeader
  for (let at = IPV6_HEADER_BYTES; at < header.length; at += (header[at + 1]! + 1) << 3) field = at
  header[field] = view.getUint8(fragment)
  return header
}
