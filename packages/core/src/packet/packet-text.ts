// One line per packet in the manner of `tcpdump -nnS`, for traces and test failures. Cold: it allocates freely.
import { ipv4Text, ipv6Text } from './address-text.ts'
import { checkPacket, packetLength } from './check-packet.ts'
import { dropReasonName } from './drop-reason.ts'
import { icmpText, icmpv6Text } from './icmp-text.ts'
import { IpProtocol, ipVersion } from './ip-protocol.ts'
import { Ipv4Field, ipv4FragmentOffset } from './ipv4.ts'
import { Ipv6Field, ipv6FragmentHeader, ipv6FragmentOffset } from './ipv6.ts'
import {
  TCP_HEADER_BYTES,
  TcpFlag,
  tcpAcknowledgmentNumber,
  tcpDestinationPort,
  tcpFlags,
  tcpHeaderLength,
  tcpSequenceNumber,
  tcpSourcePort,
  tcpWindow,
} from './tcp.ts'
import { isLaterFragment, locateTransport, transportOffset, transportProtocol } from './transport.ts'
import { UDP_HEADER_BYTES, udpDestinationPort, udpLength, udpSourcePort } from './udp.ts'

/**
 * Describes the packet of `length` bytes at `offset` in one line:
 * `IP 10.0.0.1.40000 > 10.0.0.2.80: Flags [S], seq 1, win 65535, options [mss 1460], length 0`.
 * Never throws, whatever the bytes are.
 */
export function packetText(bytes: Uint8Array, offset = 0, length: number = bytes.length - offset): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (length < 1) return 'IP empty'
  const version = ipVersion(view, offset)
  const problem = checkPacket(view, offset, length)
  if (problem !== 0) return `IP${version === 6 ? '6' : ''} ${dropReasonName(problem)} (${length} bytes)`
  const end = offset + packetLength(view, offset, length)
  const location = locateTransport(view, offset, length)
  const protocol = transportProtocol(location)
  const at = offset + transportOffset(location)
  const family = version === 4 ? 'IP' : 'IP6'
  const source = addressText(bytes, version, offset + (version === 4 ? Ipv4Field.source : Ipv6Field.source))
  const destination = addressText(
    bytes,
    version,
    offset + (version === 4 ? Ipv4Field.destination : Ipv6Field.destination),
  )
  const hosts = `${family} ${source} > ${destination}`
  if (isLaterFragment(location)) {
    const position = fragmentOffset(view, offset, length, version)
    return `${hosts}: ${protocolName(protocol)} fragment, offset ${position}, length ${end - at}`
  }
  switch (protocol) {
    case IpProtocol.tcp: {
      const flow = `${family} ${source}.${tcpSourcePort(view, at)} > ${destination}.${tcpDestinationPort(view, at)}`
      return `${flow}: ${tcpText(view, at, end)}`
    }
    case IpProtocol.udp: {
      const flow = `${family} ${source}.${udpSourcePort(view, at)} > ${destination}.${udpDestinationPort(view, at)}`
      return `${flow}: UDP, length ${udpLength(view, at) - UDP_HEADER_BYTES}`
    }
    case IpProtocol.icmp:
      return `${hosts}: ${icmpText(bytes, view, at, end)}`
    case IpProtocol.icmpv6:
      return `${hosts}: ${icmpv6Text(view, at, end)}`
    default:
      return `${hosts}: ${protocolName(protocol)}, length ${end - at}`
  }
}

function addressText(bytes: Uint8Array, version: number, at: number): string {
  return version === 4 ? ipv4Text(bytes, at) : ipv6Text(bytes, at)
}

function fragmentOffset(view: DataView, offset: number, length: number, version: number): number {
  return version === 4
    ? ipv4FragmentOffset(view, offset)
    : ipv6FragmentOffset(view, ipv6FragmentHeader(view, offset, length))
}

function protocolName(protocol: number): string {
  for (const [name, number] of Object.entries(IpProtocol)) if (number === protocol) return name
  return `protocol ${protocol}`
}

const flagLetters = [
  [TcpFlag.fin, 'F'],
  [TcpFlag.syn, 'S'],
  [TcpFlag.rst, 'R'],
  [TcpFlag.psh, 'P'],
  [TcpFlag.ack, '.'],
  [TcpFlag.urg, 'U'],
  [TcpFlag.ece, 'E'],
  [TcpFlag.cwr, 'W'],
] as const

function tcpText(view: DataView, at: number, end: number): string {
  const flags = tcpFlags(view, at)
  const letters = flagLetters.map(([bit, letter]) => (flags & bit ? letter : '')).join('') || 'none'
  const sequence = tcpSequenceNumber(view, at)
  const payload = end - at - tcpHeaderLength(view, at)
  const parts = [`Flags [${letters}]`]
  if (payload > 0) parts.push(`seq ${sequence}:${(sequence + payload) >>> 0}`)
  else if (flags & (TcpFlag.syn | TcpFlag.fin | TcpFlag.rst)) parts.push(`seq ${sequence}`)
  if (flags & TcpFlag.ack) parts.push(`ack ${tcpAcknowledgmentNumber(view, at)}`)
  parts.push(`win ${tcpWindow(view, at)}`)
  const options = tcpOptions(view, at)
  if (options.length > 0) parts.push(`options [${options.join(',')}]`)
  parts.push(`length ${payload}`)
  return parts.join(', ')
}

function tcpOptions(view: DataView, at: number): string[] {
  const texts: string[] = []
  const end = at + tcpHeaderLength(view, at)
  let option = at + TCP_HEADER_BYTES
  while (option < end) {
    const kind = view.getUint8(option)
    if (kind <= 1) {
      texts.push(kind === 0 ? 'eol' : 'nop')
      if (kind === 0) break
      option++
      continue
    }
    const length = option + 1 < end ? view.getUint8(option + 1) : 0
    if (length < 2 || option + length > end) {
      texts.push('bad opt')
      break
    }
    texts.push(tcpOption(view, option, kind, length))
    option += length
  }
  return texts
}

function tcpOption(view: DataView, option: number, kind: number, length: number): string {
  if (kind === 2 && length === 4) return `mss ${view.getUint16(option + 2)}`
  if (kind === 3 && length === 3) return `wscale ${view.getUint8(option + 2)}`
  if (kind === 4 && length === 2) return 'sackOK'
  if (kind === 8 && length === 10) return `TS val ${view.getUint32(option + 2)} ecr ${view.getUint32(option + 6)}`
  if (kind === 5 && length >= 10 && (length - 2) % 8 === 0) {
    const blocks: string[] = []
    for (let block = option + 2; block < option + length; block += 8) {
      blocks.push(`{${view.getUint32(block)}:${view.getUint32(block + 4)}}`)
    }
    return `sack ${blocks.length} ${blocks.join('')}`
  }
  return `opt-${kind}`
}
