import {
  IPV4_HEADER_BYTES,
  IpProtocol,
  Ipv4Field,
  Ipv6Field,
  type PacketBatch,
  TcpFlag,
  tcpFlags,
  Verdict,
} from '@twinbore/core/packet'
import { appendPiece, finishHeaders, setPush } from './chain.ts'
import { addressHash, FlowGroups } from './flow-groups.ts'
import { ANY_FLOW, canBegin, continues, isIntact, plainTransport } from './joinable.ts'

/** The kernel's own limit for UDP (UDP_MAX_SEGMENTS), and one that keeps a TCP chain below the 1024 pieces of a writev. */
const maxDatagrams = 64
const maxSegments = 512
const maxPacketBytes = 65_535

const groups = new FlowGroups()

/**
 * A stage: joins packets of the same flow and owner into super-packets. The first packet's slot keeps the headers, the
 * others become pieces of it (`Verdict.merged`). Many flows may be interleaved. The order of packets within a flow stays as
 * it is, and cutting the super-packets (`Segmenter`, or the kernel) gives back the packets, byte for byte, except for an
 * IPv4 identification that stays the same under "don't fragment", which counts up after a cut (RFC 6864 gives it no meaning).
 *
 * Joined are TCP segments in sequence with equal headers, options included, and payloads of equal size; a shorter one, or
 * one with PSH, is the last. With `datagrams` (`PacketDevice.superDatagrams`), UDP datagrams of equal size too. Never joined:
 * what has SYN, FIN, RST, URG or CWR, pure acknowledgments, fragments, IP options or extension headers, what differs in TTL,
 * DSCP, ECN or flow label, and what has a wrong checksum; each of these also ends the super-packet of its flow. The
 * checksums of all joined packets are verified before that of the super-packet becomes partial.
 *
 * Slots that stay single are not touched. Allocates nothing.
 */
export function coalescePackets(batch: PacketBatch, datagrams = false): void {
  groups.begin()
  for (let slot = 0; slot < batch.count; slot++) {
    if (batch.verdicts[slot] === Verdict.forward) consider(batch, slot, datagrams)
  }
  for (let i = 0; i < groups.used; i++) end(batch, groups.order[i]!)
}

function consider(batch: PacketBatch, slot: number, datagrams: boolean): void {
  const { view } = batch
  const at = batch.offsets[slot]!
  const length = batch.lengths[slot]!
  const own = batch.next[slot] === -1 ? length : batch.ownLengths[slot]!
  const transport = plainTransport(view, at, length, own)
  if (transport === 0) return
  if (transport === ANY_FLOW) {
    endBetween(batch, at)
    return
  }
  const protocol = view.getUint8(at + (transport === IPV4_HEADER_BYTES ? Ipv4Field.protocol : Ipv6Field.nextHeader))
  if (protocol === IpProtocol.udp && !datagrams) return
  groups.look(batch, at, transport, protocol, batch.owners[slot]!)
  const { found } = groups
  const isSingle = batch.partialChecksums[slot] === 0 && batch.segments[slot] === 1 && batch.next[slot] === -1
  if (found !== -1) {
    if (isSingle && join(batch, slot, found, transport, protocol)) return
    end(batch, found)
  }
  if (!isSingle || !canBegin(view, at, length, transport, protocol)) return
  const entry = found === -1 ? groups.free : found
  if (groups.headOf(entry) !== -1) end(batch, entry)
  groups.open(entry, slot, transport, protocol)
}

/** Lets a packet join the super-packet of its flow. Returns false for one that may not. */
function join(batch: PacketBatch, slot: number, entry: number, transport: number, protocol: number): boolean {
  const { view } = batch
  const head = groups.heads[entry]!
  const tail = groups.tails[entry]!
  const at = batch.offsets[slot]!
  const first = batch.offsets[head]!
  const length = batch.lengths[slot]!
  const payload = continues(batch, head, at, length, transport, protocol)
  if (payload === 0 || batch.lengths[head]! + payload > maxPacketBytes) return false
  if (batch.segments[head]! >= (protocol === IpProtocol.udp ? maxDatagrams : maxSegments)) return false
  if (transport === IPV4_HEADER_BYTES && !groups.takesIdentification(batch, entry, at)) return false
  // The first one's checksums are verified when there is something to join it with.
  if (tail === head && !isIntact(batch, head, transport, protocol)) return false
  if (!isIntact(batch, slot, transport, protocol)) return false
  const pushes = protocol === IpProtocol.tcp && (tcpFlags(view, at + transport) & TcpFlag.psh) !== 0
  appendPiece(batch, head, tail, slot, payload)
  groups.tails[entry] = slot
  if (pushes) setPush(view, first + transport)
  if (pushes || payload < batch.segmentBytes[head]!) end(batch, entry)
  return true
}

/** Ends an entry's super-packet. */
function end(batch: PacketBatch, entry: number): void {
  const head = groups.heads[entry]!
  if (head === -1) return
  groups.heads[entry] = -1
  if (groups.tails[entry] !== head) finishHeaders(batch, head, groups.transports[entry]!, groups.protocols[entry]!)
}

/** Ends all super-packets between the addresses of the packet at `at`, which may be of any of their flows. */
function endBetween(batch: PacketBatch, at: number): void {
  if (groups.used === 0) return
  const hash = addressHash(batch.view, at)
  for (let i = 0; i < groups.used; i++) {
    const entry = groups.order[i]!
    if (groups.addressHashes[entry] === hash) end(batch, entry)
  }
}
