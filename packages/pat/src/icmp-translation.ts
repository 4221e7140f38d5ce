// ICMP errors carry the packet that they are about; both are translated (RFC 5508 §4, RFC 5382 REQ-9, RFC 4787 REQ-12).
//
//   from outside:  [ router -> outside address ][ outside endpoint -> remote ... ]   the embedded *source* becomes inside
//   from inside:   [ client -> remote          ][ remote -> inside endpoint  ... ]   the embedded *destination* becomes outside
//
// They come from any router (no filter on their source), and they neither refresh nor end anything. Refused: bad checksums
// of the message or of the embedded IPv4 header, errors about errors, too little embedded data to name a session, and
// what is about no live session. Type, code, MTU, and extensions behind the embedded packet (RFC 4884) stay as they are.
import {
  checkEmbeddedPacket,
  DropReason,
  embeddedLength,
  embeddedOffset,
  IcmpType,
  Icmpv6Type,
  icmpCode,
  icmpNextHopMtu,
  icmpType,
  icmpv6Mtu,
  tcpSequenceNumber,
  UnreachableCode,
  verifyTransportChecksum,
  writeTransportChecksum,
} from '@twinbore/core/packet'
import type { Engine } from './engine.ts'
import { hasRefusedOptions, type PacketFacts, Protocol } from './packet-facts.ts'
import { clearFlowLabel, keepIdentification, rewriteIpv4, rewriteIpv6, rewriteTransport, Side } from './rewrite.ts'
import { inbound, outbound } from './tcp-tracker.ts'

const leastMtu4 = 68
const leastMtu6 = 1280

/** Translates an error that came to an outside address. Returns 0 or the reason to drop it. */
export function translateInboundError(
  engine: Engine,
  facts: PacketFacts,
  outside: number,
  view: DataView,
  offset: number,
  hops: number,
  now: number,
): number {
  const { embedded } = engine
  const reason = readError(facts, embedded, view, offset)
  if (reason !== 0) return reason
  const { mappings } = engine
  const { table, insides } = mappings
  // The error is addressed to whoever sent the embedded packet.
  if (
    embedded.sourceD !== facts.destinationD ||
    embedded.sourceC !== facts.destinationC ||
    embedded.sourceB !== facts.destinationB ||
    embedded.sourceA !== facts.destinationA
  ) {
    return DropReason.noMapping
  }
  const mapping = table.findOutside(outside, embedded.protocol, embedded.sourcePort)
  if (mapping === -1) return DropReason.noMapping
  const { destinationA, destinationB, destinationC, destinationD } = embedded
  const port = embedded.protocol === Protocol.icmp ? 0 : embedded.destinationPort
  const session = mappings.findSession(mapping, destinationA, destinationB, destinationC, destinationD, port, now)
  if (session === -1 || !wasSent(engine, session, outbound, view)) return DropReason.filtered

  const at = table.inside[mapping]! * 4
  rewriteEmbedded(embedded, view, embeddedOffset(facts.at), Side.source, insides.words, at, table.insidePort[mapping]!)
  if (facts.version === 4) rewriteIpv4(view, offset, Side.destination, insides.words[at + 3]!, keepIdentification, hops)
  else rewriteIpv6(view, offset, Side.destination, insides.words, at, hops)
  writeTransportChecksum(view, offset, facts.at, facts.end - facts.at, facts.ipProtocol)
  return 0
}

/** Translates an error that a client, or a router behind it, sends. Returns 0 or the reason to drop it. */
export function translateOutboundError(
  engine: Engine,
  facts: PacketFacts,
  view: DataView,
  offset: number,
  hops: number,
  now: number,
): number {
  const { embedded } = engine
  const reason = readError(facts, embedded, view, offset)
  if (reason !== 0) return reason
  // No packet with such headers was ever let in; what they hold could be inside addresses.
  if (hasRefusedOptions(view, embeddedOffset(facts.at), embedded.at - embeddedOffset(facts.at)))
    return DropReason.refusedOptions
  if (
    embedded.sourceD !== facts.destinationD ||
    embedded.sourceC !== facts.destinationC ||
    embedded.sourceB !== facts.destinationB ||
    embedded.sourceA !== facts.destinationA
  ) {
    return DropReason.noMapping
  }
  const { mappings } = engine
  const { table, insides } = mappings
  const inside = insides.find(
    embedded.destinationA,
    embedded.destinationB,
    embedded.destinationC,
    embedded.destinationD,
  )
  if (inside === -1) return DropReason.noMapping
  const mapping = table.findInside(inside, embedded.protocol, embedded.destinationPort)
  if (mapping === -1) return DropReason.noMapping
  const { sourceA, sourceB, sourceC, sourceD } = embedded
  const port = embedded.protocol === Protocol.icmp ? 0 : embedded.sourcePort
  const session = mappings.findSession(mapping, sourceA, sourceB, sourceC, sourceD, port, now)
  if (session === -1 || !wasSent(engine, session, inbound, view)) return DropReason.filtered

  const { words } = mappings.outside
  const outside = table.outside[mapping]!
  rewriteEmbedded(
    embedded,
    view,
    embeddedOffset(facts.at),
    Side.destination,
    words,
    outside * 4,
    table.outsidePort[mapping]!,
  )
  if (facts.version === 4) {
    const identification = facts.isAtomic
      ? 0
      : engine.identifications.next(outside, facts.ipProtocol, sourceB, sourceC, sourceD) & 0xffff
    rewriteIpv4(view, offset, Side.source, words[outside * 4 + 3]!, identification, hops)
  } else {
    clearFlowLabel(view, offset)
    if (facts.fragmentHeader !== -1) view.setInt32(facts.fragmentHeader + 4, engine.config.random.uint32())
    rewriteIpv6(view, offset, Side.source, words, outside * 4, hops)
  }
  writeTransportChecksum(view, offset, facts.at, facts.end - facts.at, facts.ipProtocol)
  return 0
}

/** Checks an error and reads the packet that it carries into `embedded`. Returns 0 or the reason to drop it. */
function readError(facts: PacketFacts, embedded: PacketFacts, view: DataView, offset: number): 0 | DropReason {
  const { at, end, version } = facts
  if (!verifyTransportChecksum(view, offset, at, end - at, facts.ipProtocol)) return DropReason.badChecksum
  if (claimsAbsurdMtu(view, at, version)) return DropReason.malformed
  const start = embeddedOffset(at)
  const length = embeddedLength(view, at, end - at, version)
  const reason = checkEmbeddedPacket(view, start, length)
  if (reason !== 0) return reason
  const headers = embedded.readHeaders(view, start, length)
  if (headers !== 0) return headers
  if (embedded.version !== version) return DropReason.malformed
  // Later fragments name no session, and errors are never about errors (RFC 1122 §3.2.2).
  return embedded.protocol === Protocol.none ? DropReason.noMapping : 0
}

/** Below what every link carries (RFC 791 §3.2, RFC 8200 §5); 0 is from v4 routers that don't tell (RFC 1191 §4). */
function claimsAbsurdMtu(view: DataView, at: number, version: number): boolean {
  if (version === 6) return icmpType(view, at) === Icmpv6Type.packetTooBig && icmpv6Mtu(view, at) < leastMtu6
  if (icmpType(view, at) !== IcmpType.destinationUnreachable) return false
  if (icmpCode(view, at) !== UnreachableCode.fragmentationNeeded) return false
  const mtu = icmpNextHopMtu(view, at)
  return mtu !== 0 && mtu < leastMtu4
}

/** For TCP: whether the embedded segment is one that the session may just have sent (RFC 5927 §4.1). */
function wasSent(engine: Engine, session: number, direction: number, view: DataView): boolean {
  const { embedded } = engine
  if (embedded.protocol !== Protocol.tcp) return true
  return engine.mappings.sessions.windows.wasSent(session, direction, tcpSequenceNumber(view, embedded.at) | 0)
}

function rewriteEmbedded(
  embedded: PacketFacts,
  view: DataView,
  start: number,
  side: number,
  words: Int32Array,
  at: number,
  port: number,
): void {
  const delta =
    embedded.version === 4
      ? rewriteIpv4(view, start, side, words[at + 3]!, keepIdentification, 0)
      : rewriteIpv6(view, start, side, words, at, 0)
  rewriteTransport(view, embedded.at, embedded.end, embedded.protocol, embedded.version, side, port, delta)
}
