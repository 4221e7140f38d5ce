import type { WriteEpoch } from '../record/epoch-keys.ts'
import { ContentType, MAX_PLAINTEXT_BYTES, ProtocolVersion } from '../record/record-header.ts'
import { HandshakeType, MESSAGE_HEADER_BYTES, readFragmentHeader, writeFragmentHeader } from './message-header.ts'

/** One thing to send in a flight. */
export interface FlightItem {
  /** The keys that it goes under, when it is sent first and when it is sent again. */
  readonly epoch: WriteEpoch
  /** A handshake message with its header, or `undefined` for ChangeCipherSpec. */
  readonly message: Uint8Array | undefined
}

/** Content of a ChangeCipherSpec record. RFC 5246 §7.1. */
const CHANGE_CIPHER_SPEC = Uint8Array.of(1)

/** Where datagrams are put together before their length is known. */
let workspace = new Uint8Array(2048)

/**
 * Lays a flight out in datagrams of at most `mtu` bytes: as many records in each as fit, one message or fragment in each
 * record. RFC 6347 §4.2.3. Every call makes new records with new numbers.
 */
export function layOutFlight(items: readonly FlightItem[], mtu: number): Uint8Array[] {
  const datagrams: Uint8Array[] = []
  if (workspace.length < mtu) workspace = new Uint8Array(mtu)
  const datagram = workspace
  let used = 0
  const flush = (): void => {
    if (used > 0) datagrams.push(datagram.slice(0, used))
    used = 0
  }
  for (const { epoch, message } of items) {
    if (message === undefined) {
      if (used + epoch.overhead + CHANGE_CIPHER_SPEC.length > mtu) flush()
      datagram.set(CHANGE_CIPHER_SPEC, used + epoch.headerBytes)
      used = epoch.write(datagram, used, ContentType.changeCipherSpec, 1, ProtocolVersion.dtls12)
      continue
    }
    const header = readFragmentHeader(message, 0, message.length)!
    const version = header.type === HandshakeType.clientHello ? ProtocolVersion.dtls10 : ProtocolVersion.dtls12
    let offset = 0
    do {
      const rest = header.length - offset
      const fixed = epoch.overhead + MESSAGE_HEADER_BYTES
      // A message that fits into a datagram of its own is not torn to fill up another one.
      const fitsAlone = fixed + rest <= mtu
      if (used > 0 && (fitsAlone ? used + fixed + rest > mtu : used + fixed + 1 > mtu)) flush()
      const fragmentLength = Math.min(rest, mtu - used - fixed, MAX_PLAINTEXT_BYTES - MESSAGE_HEADER_BYTES)
      const at = used + epoch.headerBytes
      writeFragmentHeader(datagram, at, { ...header, fragmentOffset: offset, fragmentLength })
      const from = MESSAGE_HEADER_BYTES + offset
      datagram.set(message.subarray(from, from + fragmentLength), at + MESSAGE_HEADER_BYTES)
      used = epoch.write(datagram, used, ContentType.handshake, MESSAGE_HEADER_BYTES + fragmentLength, version)
      offset += fragmentLength
    } while (offset < header.length)
  }
  flush()
  return datagrams
}
