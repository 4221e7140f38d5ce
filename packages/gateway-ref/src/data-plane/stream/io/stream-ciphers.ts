import { nodeTlsCrypto, type TlsAeadMaker, type TlsAeadName } from '@twinbore/core/io'
import { loadLibcrypto } from '@twinbore/dtls/io'
import type { DataPlaneConfig } from '../../../config/gateway-config.ts'
import { libcryptoAead } from './libcrypto-aead.ts'

/** How the records of stream channels are protected here. */
export interface StreamCipherSupport {
  /** `evp`: by libcrypto's calls. `node`: by node:crypto, at several times the cost. */
  readonly kind: 'evp' | 'node'
  /** Why it is not `evp`. */
  readonly reason?: string
}

interface Choice extends StreamCipherSupport {
  readonly make: TlsAeadMaker
}

let choice: Choice | undefined

/** Makes the ciphers of stream channels: by libcrypto directly where a self-test passes, else by node:crypto. */
export const streamCipher: TlsAeadMaker = (name, key, direction) => {
  choice ??= choose()
  return choice.make(name, key, direction)
}

/** How the records of stream channels are protected here, and why not better. For logs and diagnosis. */
export function streamCipherSupport(): StreamCipherSupport {
  choice ??= choose()
  const { kind, reason } = choice
  return reason === undefined ? { kind } : { kind, reason }
}

/** The maker for a configuration; `undefined` leaves records to Node's TLS. */
export function configuredStreamCipher({
  records,
  streams,
}: Pick<DataPlaneConfig, 'records' | 'streams'>): TlsAeadMaker | undefined {
  if (streams === 'node') return undefined
  return records === 'node' ? nodeTlsCrypto.aead : streamCipher
}

function choose(): Choice {
  try {
    const make = libcryptoAead(loadLibcrypto())
    const failure = testStreamCiphers(make)
    if (failure === undefined) return { kind: 'evp', make }
    return { kind: 'node', reason: failure, make: nodeTlsCrypto.aead }
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    return { kind: 'node', reason: `libcrypto can't be called: ${reason}`, make: nodeTlsCrypto.aead }
  }
}

/** Seals and opens records in both ways against node:crypto. Says what is wrong, if anything is. */
export function testStreamCiphers(make: TlsAeadMaker): string | undefined {
  const names: readonly TlsAeadName[] = ['aes-128-gcm', 'aes-256-gcm', 'chacha20-poly1305']
  for (const name of names) {
    const key = new Uint8Array(name === 'aes-128-gcm' ? 16 : 32).map((_, i) => i * 7 + 1)
    for (const length of [1, 15, 64, 1400, 16_384]) {
      const failure = testRecord(make, name, key, length)
      if (failure !== undefined) return `${name}, ${length} bytes: ${failure}`
    }
  }
  return undefined
}

function testRecord(make: TlsAeadMaker, name: TlsAeadName, key: Uint8Array, length: number): string | undefined {
  const header = 5
  const nonce = new Uint8Array(12).map((_, i) => length + i)
  const expected = new Uint8Array(header + length + 16).map((_, i) => i * 3)
  const plaintext = expected.slice(header, header + length)
  const sealed = expected.slice()
  const reference = nodeTlsCrypto.aead(name, key, 'seal')
  const sealing = make(name, key, 'seal')
  const opening = make(name, key, 'open')
  try {
    reference.seal(expected, header, length, nonce, expected, 0, header)
    sealing.seal(sealed, header, length, nonce, sealed, 0, header)
    if (!isEqual(sealed, expected)) return 'sealed differently'
    const output = new Uint8Array(length + 3)
    if (!opening.open(sealed, header, length, output, 3, nonce, sealed, 0, header)) return 'not opened'
    if (!isEqual(output.subarray(3), plaintext)) return 'opened differently'
    sealed[header + length - 1]! ^= 1
    if (opening.open(sealed, header, length, output, 3, nonce, sealed, 0, header)) return 'a forgery was opened'
    return undefined
  } finally {
    for (const aead of [reference, sealing, opening]) aead.dispose()
  }
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}
