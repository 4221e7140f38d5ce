/** Alerts by name. RFC 5246 §7.2, RFC 4279 §6, RFC 6066 and others of the IANA registry. */
const descriptions: ReadonlyMap<number, string> = new Map([
  [0, 'close_notify'],
  [10, 'unexpected_message'],
  [20, 'bad_record_mac'],
  [22, 'record_overflow'],
  [40, 'handshake_failure'],
  [42, 'bad_certificate'],
  [43, 'unsupported_certificate'],
  [44, 'certificate_revoked'],
  [45, 'certificate_expired'],
  [46, 'certificate_unknown'],
  [47, 'illegal_parameter'],
  [48, 'unknown_ca'],
  [49, 'access_denied'],
  [50, 'decode_error'],
  [51, 'decrypt_error'],
  [70, 'protocol_version'],
  [71, 'insufficient_security'],
  [80, 'internal_error'],
  [86, 'inappropriate_fallback'],
  [90, 'user_canceled'],
  [100, 'no_renegotiation'],
  [109, 'missing_extension'],
  [110, 'unsupported_extension'],
  [112, 'unrecognized_name'],
  [115, 'unknown_psk_identity'],
  [116, 'certificate_required'],
  [120, 'no_application_protocol'],
])

export const AlertLevel = { warning: 1, fatal: 2 } as const

/** The alerts that are sent or treated in a way of their own. */
export const Alert = {
  closeNotify: 0,
  unexpectedMessage: 10,
  handshakeFailure: 40,
  illegalParameter: 47,
  decryptError: 51,
  protocolVersion: 70,
  userCanceled: 90,
  noRenegotiation: 100,
  unknownPskIdentity: 115,
} as const

export const ALERT_BYTES = 2

/** The name of an alert; `alert_N` for a number without one. */
export function alertName(description: number): string {
  return descriptions.get(description) ?? `alert_${description}`
}
