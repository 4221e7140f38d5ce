import { encodeStreamFrame, type FrameType } from '@twinbore/core'
import { nodeTlsCrypto } from '@twinbore/core/io'
import { PacketBatch } from '@twinbore/core/packet'
import { ContentType } from '../../src/tls/record-format.ts'
import type { RecordProtection } from '../../src/tls/record-protection.ts'
import { TlsFrameReader } from '../../src/tls/tls-frame-reader.ts'
import { type DirectionState, protectionOf, TlsRecordLayer } from '../../src/tls/tls-record-layer.ts'
import { type TlsSuite, tlsSuite } from '../../src/tls/tls-suite.ts'

export const suiteNames = [
  ['TLSv1.3', 'TLS_AES_128_GCM_SHA256'],
  ['TLSv1.3', 'TLS_AES_256_GCM_SHA384'],
  ['TLSv1.3', 'TLS_CHACHA20_POLY1305_SHA256'],
  ['TLSv1.2', 'TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256'],
  ['TLSv1.2', 'TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384'],
  ['TLSv1.2', 'TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256'],
] as const

export const tls13: TlsSuite = tlsSuite('TLSv1.3', 'TLS_AES_128_GCM_SHA256')!

/** Some state of a direction; the same `seed` gives the same. */
export function stateOf(suite: TlsSuite, seed: number, sequence = 0): DirectionState {
  if (suite.version === 'TLSv1.3')
    return { secret: new Uint8Array(suite.hash === 'sha256' ? 32 : 48).fill(seed), sequence }
  const iv = new Uint8Array(suite.aead === 'chacha20-poly1305' ? 12 : 4).fill(seed)
  return { keys: { key: new Uint8Array(suite.keyBytes).fill(seed), iv }, sequence }
}

/** Both ends of a connection. */
export function layerPair(suite: TlsSuite, recordsPerKey?: number): { client: TlsRecordLayer; server: TlsRecordLayer } {
  const common = { suite, crypto: nodeTlsCrypto, ...(recordsPerKey === undefined ? {} : { recordsPerKey }) }
  return {
    client: new TlsRecordLayer({
      ...common,
      role: 'client',
      sealing: stateOf(suite, 1, 5),
      opening: stateOf(suite, 2, 9),
    }),
    server: new TlsRecordLayer({
      ...common,
      role: 'server',
      sealing: stateOf(suite, 2, 9),
      opening: stateOf(suite, 1, 5),
    }),
  }
}

/** A sender that can make records of any kind, with the keys of `layerPair`'s client or server. */
export class RecordMaker {
  readonly protection: RecordProtection
  readonly suite: TlsSuite

  constructor(suite: TlsSuite, role: 'client' | 'server' = 'client') {
    this.suite = suite
    const state = role === 'client' ? stateOf(suite, 1, 5) : stateOf(suite, 2, 9)
    this.protection = protectionOf({ suite, crypto: nodeTlsCrypto }, state, 'seal')
  }

  record(content: Uint8Array, type: number = ContentType.applicationData): Uint8Array {
    const { headerBytes, trailerBytes } = this.protection
    const bytes = new Uint8Array(headerBytes + content.length + trailerBytes)
    bytes.set(content, headerBytes)
    const length = this.protection.seal(bytes, 0, content.length, type as ContentType)
    return bytes.subarray(0, length)
  }

  frame(type: FrameType, payload: Uint8Array): Uint8Array {
    return this.record(encodeStreamFrame(type, payload))
  }
}

export type Read =
  | { readonly packet: number[] }
  | { readonly control: FrameType; readonly payload: number[] }
  | { readonly end: string }

/** Feeds chunks to a reader and lists what comes out. */
export function readAll(
  reader: TlsFrameReader,
  chunks: readonly Uint8Array[],
  batch = new PacketBatch({ capacity: 4 }),
): Read[] {
  const out: Read[] = []
  for (const chunk of chunks) {
    reader.feed(chunk)
    for (;;) {
      const step = reader.next(batch, 7)
      for (let slot = 0; slot < batch.count; slot++) out.push({ packet: [...batch.packet(slot)] })
      batch.reset()
      if (step.type === 'starved') break
      if (step.type === 'control') out.push({ control: step.frameType, payload: [...step.payload] })
      else if (step.type === 'failed') return [...out, { end: step.text }]
      else if (step.type === 'violation') return [...out, { end: step.violation }]
      else if (step.type === 'ended') return [...out, { end: 'ended' }]
    }
  }
  return out
}

export function serverReader(suite: TlsSuite = tls13): { reader: TlsFrameReader; layer: TlsRecordLayer } {
  const { server } = layerPair(suite)
  return { reader: new TlsFrameReader(server), layer: server }
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts))
}

/** Cuts bytes at random places. */
export function cutAnywhere(bytes: Uint8Array, next: (bound: number) => number): Uint8Array[] {
  const chunks: Uint8Array[] = []
  for (let at = 0; at < bytes.length; ) {
    const length = Math.min(bytes.length - at, 1 + next(next(3) === 0 ? 20 : 3000))
    chunks.push(bytes.subarray(at, at + length))
    at += length
  }
  return chunks
}
