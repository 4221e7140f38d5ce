import type { TLSSocket } from 'node:tls'
import type { PeerCertificate } from '../protocol/credentials.ts'

/** The client certificate of a connection, if there is one that the client authorities vouch for. */
export function verifiedPeerCertificate(socket: TLSSocket): PeerCertificate | undefined {
  if (!socket.authorized) return undefined
  const certificate = socket.getPeerX509Certificate()
  if (!certificate) return undefined
  const subject: Readonly<Record<string, unknown>> = { ...certificate.toLegacyObject().subject }
  return {
    commonNames: texts(subject.CN),
    userIds: texts(subject.UID),
    emails: emailNames(certificate.subjectAltName ?? ''),
    fingerprint: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
  }
}

function texts(value: unknown): string[] {
  return (Array.isArray(value) ? value : [value]).filter(item => typeof item === 'string')
}

/**
 * The rfc822Name entries of Node's text for a subject alternative name: `email:a@example.com, DNS:example.com`. Node puts
 * an entry in quotes when it holds anything that could be taken for a separator; no honest mail address does.
 */
function emailNames(text: string): string[] {
  const entries = text.match(/(?:[^",]|"(?:[^"\\]|\\.)*")+/g) ?? []
  const emails: string[] = []
  for (const entry of entries) {
    const trimmed = entry.trim()
    if (trimmed.startsWith('email:') && !trimmed.includes('"')) emails.push(trimmed.slice('email:'.length))
  }
  return emails
}
