import {
  checksumAdd,
  checksumFieldOffset,
  checksumFinish,
  checksumFold,
  DropReason,
  IPV6_HEADER_BYTES,
  IpProtocol,
  Ipv4Field,
  Ipv6Field,
  ipVersion,
  ipv4HeaderLength,
  isFragment,
  locateTransport,
  type PacketBatch,
  pseudoHeaderSum,
  TCP_HEADER_BYTES,
  TcpField,
  TcpFlag,
  tcpHeaderLength,
  transportOffset,
  transportProtocol,
  UDP_HEADER_BYTES,
  UdpField,
} from '@twinbore/core/packet'

/** Flags that only the last packet of a super-packet has, and the one that only its first has. */
const lastFlags = TcpFlag.fin | TcpFlag.psh
const firstFlags = TcpFlag.cwr

/**
 * Cuts super-packets of TCP and UDP, IPv4 and IPv6, into packets, and completes partial checksums. One after the other:
 * `start` names a slot, `fill` appends its packets to a batch and goes on where it stopped when the batch was full.
 *
 * Each packet has the headers of the super-packet with its own lengths, sequence number, IPv4 identification (counting up)
 * and checksums; FIN and PSH are on the last only, CWR on the first only. Payload may be chained over many slots. A slot
 * that is one packet is copied, with its checksum completed where that is partial.
 *
 * The source must not change between `start` and the `fill` that returns true. Packets that don't fit into a slot of the
 * target are dropped there as `tooBig`.
 */
export class Segmenter {
  private source: PacketBatch | undefined
  private owner = -1
  /** Where the super-packet's headers are, how long they are, and where in them the transport header begins. */
  private offset = 0
  private headerBytes = 0
  private transportAt = 0
  private protocol = 0
  /** Whether checksums are made anew; else they are kept, or completed from the partial one. */
  private cuts = false
  private completes = false
  /** Sums of what all packets' headers have in common: of IPv4, and of the transport with its pseudo header. */
  private ipv4Sum = 0
  private transportSum = 0
  private segmentBytes = 0
  private payloadLeft = 0
  private index = 0
  /** Where the payload goes on: a slot, the position in its piece, and what is left of the piece. */
  private piece = -1
  private pieceAt = 0
  private pieceLeft = 0

  /**
   * Begins with a slot; what was left of the one before is forgotten. Returns false, and then has nothing to fill, when its
   * headers are not whole or contradict the batch's columns: a malformed packet.
   */
  start(batch: PacketBatch, slot: number): boolean {
    const length = batch.lengths[slot]!
    const own = batch.next[slot] === -1 ? length : batch.ownLengths[slot]!
    this.source = undefined
    this.owner = batch.owners[slot]!
    this.offset = batch.offsets[slot]!
    this.cuts = batch.segments[slot]! > 1
    this.completes = batch.partialChecksums[slot] === 1
    this.headerBytes = 0
    this.segmentBytes = length
    if (this.cuts || this.completes) {
      this.headerBytes = this.locate(batch.view, own)
      if (this.headerBytes === -1) return false
    }
    if (this.cuts) {
      this.segmentBytes = batch.segmentBytes[slot]!
      if (this.segmentBytes === 0) return false
      this.sumHeaders(batch.view)
    }
    this.source = batch
    this.payloadLeft = length - this.headerBytes
    this.index = 0
    this.piece = slot
    this.pieceAt = this.offset + this.headerBytes
    this.pieceLeft = own - this.headerBytes
    return true
  }

  /** Appends packets to `into` until all are there (true) or it is full (false). */
  fill(into: PacketBatch): boolean {
    const source = this.source
    if (!source) return true
    do {
      const bytes = Math.min(this.segmentBytes, this.payloadLeft)
      if (this.headerBytes + bytes > into.slotBytes) {
        this.refuseRest(into)
        break
      }
      const slot = into.reserve(this.owner)
      if (slot === -1) return false
      into.lengths[slot] = this.headerBytes + bytes
      this.payloadLeft -= bytes
      const at = into.offsets[slot]!
      copyHeaders(source.view, this.offset, into.view, at, this.headerBytes)
      const sum = this.copyPayload(source, into, at + this.headerBytes, bytes)
      if (this.cuts) this.finishHeaders(into.view, at, bytes, sum)
      else if (this.completes) this.completeChecksum(into, at, sum)
      this.index++
    } while (this.payloadLeft > 0)
    this.source = undefined
    return true
  }

  /** Finds the headers and returns their length, -1 when they are not whole in the first `own` bytes. */
  private locate(view: DataView, own: number): number {
    const location = locateTransport(view, this.offset, own)
    if (location === -1 || isFragment(location)) return -1
    this.transportAt = transportOffset(location)
    this.protocol = transportProtocol(location)
    const room = own - this.transportAt
    if (this.protocol === IpProtocol.udp) return room < UDP_HEADER_BYTES ? -1 : this.transportAt + UDP_HEADER_BYTES
    if (this.protocol !== IpProtocol.tcp || room < TCP_HEADER_BYTES) return -1
    const headerLength = tcpHeaderLength(view, this.offset + this.transportAt)
    return headerLength < TCP_HEADER_BYTES || headerLength > room ? -1 : this.transportAt + headerLength
  }

  /** Adds up the headers without the fields that `finishHeaders` writes: adding a complement takes a field out. */
  private sumHeaders(view: DataView): void {
    const { offset } = this
    const transport = offset + this.transportAt
    if (ipVersion(view, offset) === 4) {
      const length = view.getUint16(offset + Ipv4Field.totalLength)
      const identification = view.getUint16(offset + Ipv4Field.identification)
      const checksum = view.getUint16(offset + Ipv4Field.checksum)
      const without = 3 * 0xffff - length - identification - checksum
      this.ipv4Sum = checksumAdd(view, offset, ipv4HeaderLength(view, offset), without)
    }
    let without = 0xffff - view.getUint16(transport + checksumFieldOffset(this.protocol))
    if (this.protocol === IpProtocol.tcp) {
      const sequence = view.getUint32(transport + TcpField.sequenceNumber)
      const flags = view.getUint16(transport + TcpField.dataOffset)
      without += 3 * 0xffff - (sequence >>> 16) - (sequence & 0xffff) - flags
    } else without += 0xffff - view.getUint16(transport + UdpField.length)
    const pseudoSum = pseudoHeaderSum(view, offset, this.protocol, 0)
    this.transportSum = checksumAdd(view, transport, this.headerBytes - this.transportAt, pseudoSum + without)
  }

  /** Copies the next `length` bytes of payload, from as many pieces as it takes. Returns their sum where a checksum needs it. */
  private copyPayload(source: PacketBatch, into: PacketBatch, to: number, length: number): number {
    if (length <= this.pieceLeft) {
      const from = this.pieceAt
      this.pieceAt += length
      this.pieceLeft -= length
      if (this.headerBytes > 0) return into.copyAndSum(source, from, to, length)
      into.copyFrom(source, from, to, length)
      return 0
    }
    const begin = to
    const end = to + length
    while (to < end) {
      if (this.pieceLeft === 0) {
        const next = source.next[this.piece]!
        // A chain shorter than the slot's length is a mistake of its maker; the packet is refused by its receiver.
        if (next === -1) {
          into.bytes.fill(0, to, end)
          break
        }
        this.piece = next
        this.pieceAt = source.offsets[next]!
        this.pieceLeft = source.lengths[next]!
        continue
      }
      const bytes = Math.min(end - to, this.pieceLeft)
      into.copyFrom(source, this.pieceAt, to, bytes)
      this.pieceAt += bytes
      this.pieceLeft -= bytes
      to += bytes
    }
    // Pieces may be of odd length, so that their sums can't be added.
    return this.headerBytes > 0 ? into.sumAt(begin, length) : 0
  }

  /** Turns the copied headers at `at` into those of packet number `index`, with `bytes` of payload behind them. */
  private finishHeaders(view: DataView, at: number, bytes: number, payloadSum: number): void {
    const transport = at + this.transportAt
    const transportBytes = this.headerBytes - this.transportAt + bytes
    if (ipVersion(view, at) === 4) {
      const length = this.headerBytes + bytes
      const identification = (view.getUint16(at + Ipv4Field.identification) + this.index) & 0xffff
      view.setUint16(at + Ipv4Field.totalLength, length)
      view.setUint16(at + Ipv4Field.identification, identification)
      const sum = checksumFold(this.ipv4Sum + length + identification)
      view.setUint16(at + Ipv4Field.checksum, checksumFinish(sum))
    } else {
      view.setUint16(at + Ipv6Field.payloadLength, this.headerBytes + bytes - IPV6_HEADER_BYTES)
    }
    // The headers are a multiple of two bytes: the payload's sum can be added to theirs. The length is in the pseudo header.
    let total = this.transportSum + payloadSum + transportBytes
    if (this.protocol === IpProtocol.tcp) {
      const sequence = view.getUint32(transport + TcpField.sequenceNumber) + this.index * this.segmentBytes
      view.setUint32(transport + TcpField.sequenceNumber, sequence)
      const cleared = (this.payloadLeft > 0 ? lastFlags : 0) | (this.index > 0 ? firstFlags : 0)
      const flags = view.getUint16(transport + TcpField.dataOffset) & ~cleared
      view.setUint16(transport + TcpField.dataOffset, flags)
      total += (sequence >>> 16) + (sequence & 0xffff) + flags
    } else {
      view.setUint16(transport + UdpField.length, transportBytes)
      total += transportBytes
    }
    this.writeChecksum(view, transport + checksumFieldOffset(this.protocol), checksumFold(total))
  }

  /** The field holds the pseudo header's sum: what it covers, itself included, only has to be added up and inverted. */
  private completeChecksum(into: PacketBatch, at: number, payloadSum: number): void {
    const transport = at + this.transportAt
    const sum = into.sumAt(transport, this.headerBytes - this.transportAt, payloadSum)
    this.writeChecksum(into.view, transport + checksumFieldOffset(this.protocol), sum)
  }

  private writeChecksum(view: DataView, field: number, sum: number): void {
    const checksum = checksumFinish(sum)
    view.setUint16(field, checksum === 0 && this.protocol === IpProtocol.udp ? 0xffff : checksum)
  }

  private refuseRest(into: PacketBatch): void {
    const packets = this.cuts ? Math.max(1, Math.ceil(this.payloadLeft / this.segmentBytes)) : 1
    into.drops[DropReason.tooBig] = into.drops[DropReason.tooBig]! + packets
  }
}

/** Headers are short and a multiple of two bytes: words one by one are quicker than a view. */
function copyHeaders(from: DataView, at: number, to: DataView, toAt: number, length: number): void {
  let i = 0
  for (; i + 4 <= length; i += 4) to.setUint32(toAt + i, from.getUint32(at + i, true), true)
  for (; i < length; i++) to.setUint8(toAt + i, from.getUint8(at + i))
}
