import type { CloseReason } from './events.ts'

// The payload of a DISCONNECT frame is a reason byte and text. Client to gateway the byte says what becomes of the
// session; gateway to client a stock client only prints it and exits.

/** What a client wants with its DISCONNECT. `keeps` says whether the session waits for the client to come back. */
export interface ClientDeparture {
  readonly kind: 'user-left' | 'reconnecting' | 'paused' | 'local-error' | 'temporary'
  readonly keeps: boolean
}

/** Reason bytes that clients send. */
export const ClientReason = { userLeft: 0xb0, reconnecting: 0x91, paused: 0xd1, localError: 0x70 } as const

/** Reads the payload of a client's DISCONNECT. An empty payload, and a byte without a meaning here, keep the session. */
export function readClientDeparture(payload: Uint8Array): ClientDeparture {
  switch (payload[0]) {
    case ClientReason.userLeft:
      return { kind: 'user-left', keeps: false }
    case ClientReason.reconnecting:
      return { kind: 'reconnecting', keeps: true }
    case ClientReason.paused:
      return { kind: 'paused', keeps: true }
    case ClientReason.localError:
      return { kind: 'local-error', keeps: true }
    default:
      return { kind: 'temporary', keeps: true }
  }
}

/** Why a gateway ends a session: the byte on the wire (own numbers; stock clients print them) and the words. */
const gatewayReasons: readonly (readonly [CloseReason, number, string])[] = [
  ['idle-timeout', 0x01, 'Idle timeout'],
  ['session-expired', 0x02, 'Session timeout'],
  ['administrator', 0x03, 'Disconnected by the administrator'],
  ['gateway-shutdown', 0x04, 'The gateway is shutting down'],
  ['replaced', 0x05, 'Replaced by another session of the same user'],
  ['revoked', 0x06, 'Access was revoked'],
  ['protocol-violation', 0x07, 'Protocol violation'],
]

/** The words for a close reason, as peers and users see them. */
export function closeText(reason: CloseReason): string {
  return gatewayReasons.find(([name]) => name === reason)?.[2] ?? otherTexts[reason] ?? reason
}

const otherTexts: Partial<Record<CloseReason, string>> = {
  'user-left': 'Disconnected by the user',
  drained: 'The gateway moves its sessions elsewhere',
  'disconnected-too-long': 'The client did not come back in time',
  'reconnect-timeout': 'The gateway could not be reached again in time',
  refused: 'The gateway no longer accepts this session',
  'ended-by-gateway': 'The gateway ended the session',
}

/** The payload of a gateway's DISCONNECT. */
export function writeGatewayReason(reason: CloseReason, text: string = closeText(reason)): Uint8Array {
  return writeReason(gatewayReasons.find(([name]) => name === reason)?.[1] ?? 0, text)
}

/** The payload of a client's DISCONNECT. */
export function writeClientReason(byte: number, text: string): Uint8Array {
  return writeReason(byte, text)
}

/**
 * Reads the payload of a gateway's DISCONNECT or TERMINATE. The reason is named only when byte and text are ours, for
 * other gateways have other numbers. At most 256 bytes of text are taken, without control characters.
 */
export function readGatewayReason(payload: Uint8Array): { readonly reason: CloseReason; readonly text: string } {
  const text = readText(payload.subarray(1))
  const known = gatewayReasons.find(([, byte, words]) => byte === payload[0] && words === text)
  return { reason: known?.[0] ?? 'ended-by-gateway', text }
}

/** The text of a DISCONNECT, made safe to log. */
export function readText(bytes: Uint8Array): string {
  let text = ''
  for (const char of new TextDecoder().decode(bytes.subarray(0, MAX_TEXT_BYTES))) {
    const code = char.codePointAt(0)!
    text += code < 0x20 || (code >= 0x7f && code < 0xa0) ? ' ' : char
  }
  return text.trim()
}

const MAX_TEXT_BYTES = 256

function writeReason(byte: number, text: string): Uint8Array {
  const words = new TextEncoder().encode(text).subarray(0, MAX_TEXT_BYTES)
  const payload = new Uint8Array(1 + words.length)
  payload[0] = byte
  payload.set(words, 1)
  return payload
}
