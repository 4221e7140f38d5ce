// The keys and certificates of a suite, made by openssl: one authority, a gateway, and clients.
import { createHash, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { gatewayAddress, gatewayAddress6 } from './lab-network.ts'
import { mustRun } from './lab-process.ts'
import type { Workspace } from './workspace.ts'

export interface KeyPairFiles {
  readonly certificate: string
  readonly key: string
}

export interface LabCertificates {
  readonly authority: KeyPairFiles
  readonly gateway: KeyPairFiles
  /** The gateway's pin, as `openconnect --servercert` and `twinbore connect --server-pin` take it. */
  readonly gatewayPin: string
}

export async function makeCertificates(workspace: Workspace): Promise<LabCertificates> {
  const authority = { certificate: workspace.path('ca.crt'), key: workspace.path('ca.key') }
  await mustRun('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '7'],
    ...['-subj', '/CN=Lab authority', '-addext', 'basicConstraints=critical,CA:TRUE'],
    ...['-addext', 'keyUsage=critical,keyCertSign,cRLSign'],
    ...['-keyout', authority.key, '-out', authority.certificate],
  ])
  const gateway = await issue(workspace, authority, 'gateway', '/CN=vpn.example', [
    `subjectAltName=DNS:vpn.example,IP:${gatewayAddress},IP:${gatewayAddress6}`,
    'extendedKeyUsage=serverAuth',
  ])
  return { authority, gateway, gatewayPin: pinOf(gateway.certificate) }
}

/** A client certificate for `user`, named by CN and UID. */
export function makeClientCertificate(
  workspace: Workspace,
  authority: KeyPairFiles,
  user: string,
): Promise<KeyPairFiles> {
  return issue(workspace, authority, `client-${user}`, `/CN=${user}/UID=${user}`, ['extendedKeyUsage=clientAuth'])
}

export function pinOf(certificateFile: string): string {
  const { publicKey } = new X509Certificate(readFileSync(certificateFile))
  const spki = publicKey.export({ type: 'spki', format: 'der' })
  return `pin-sha256:${createHash('sha256').update(spki).digest('base64')}`
}

async function issue(
  workspace: Workspace,
  authority: KeyPairFiles,
  name: string,
  subject: string,
  extensions: readonly string[],
): Promise<KeyPairFiles> {
  const files = { certificate: workspace.path(`${name}.crt`), key: workspace.path(`${name}.key`) }
  await mustRun('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '7'],
    ...['-CA', authority.certificate, '-CAkey', authority.key],
    ...['-subj', subject, '-addext', 'basicConstraints=critical,CA:FALSE'],
    ...extensions.flatMap(extension => ['-addext', extension]),
    ...['-keyout', files.key, '-out', files.certificate],
  ])
  return files
}
