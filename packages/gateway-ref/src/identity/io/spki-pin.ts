import { createHash, type X509Certificate } from 'node:crypto'

/** The pin of a certificate's public key, as `openconnect --servercert` and `--server-pin` take it: `pin-sha256:...`. */
export function spkiPin(certificate: X509Certificate): string {
  const spki = certificate.publicKey.export({ type: 'spki', format: 'der' })
  return `pin-sha256:${createHash('sha256').update(spki).digest('base64')}`
}

/** Whether text is a pin: `pin-sha256:` and 32 bytes in base64. */
export function isSpkiPin(text: string): boolean {
  const match = /^pin-sha256:([A-Za-z0-9+/]{43}=)$/.exec(text)
  return match !== null && Buffer.from(match[1]!, 'base64').length === 32
}
