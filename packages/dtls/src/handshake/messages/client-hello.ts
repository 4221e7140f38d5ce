import { ByteReader } from '../byte-reader.ts'
import { ByteWriter } from '../byte-writer.ts'
import { type ExtensionList, readExtensions, writeExtensions } from '../extensions/extension-list.ts'

export const RANDOM_BYTES = 32

/** RFC 5246 §7.4.1.2 with the cookie of RFC 6347 §4.3.2. */
export interface ClientHello {
  readonly version: number
  readonly random: Uint8Array
  /** 0 to 32 bytes. */
  readonly sessionId: Uint8Array
  /** 0 to 255 bytes. */
  readonly cookie: Uint8Array
  readonly cipherSuites: readonly number[]
  readonly compressionMethods: Uint8Array
  readonly extensions: ExtensionList
}

export function readClientHello(body: Uint8Array): ClientHello | undefined {
  const reader = new ByteReader(body)
  const version = reader.uint16()
  const random = reader.take(RANDOM_BYTES)
  const sessionId = reader.vector8()
  const cookie = reader.vector8()
  const suites = reader.vector16()
  const compressionMethods = reader.vector8()
  const extensions = readExtensions(reader)
  if (!reader.complete || extensions === undefined) return undefined
  if (sessionId.length > 32 || suites.length < 2 || suites.length % 2 !== 0 || compressionMethods.length < 1) {
    return undefined
  }
  const cipherSuites: number[] = []
  for (let i = 0; i < suites.length; i += 2) cipherSuites.push((suites[i]! << 8) | suites[i + 1]!)
  return { version, random, sessionId, cookie, cipherSuites, compressionMethods, extensions }
}

export function writeClientHello(hello: ClientHello): Uint8Array {
  const suites = new ByteWriter()
  for (const id of hello.cipherSuites) suites.uint16(id)
  const writer = new ByteWriter()
    .uint16(hello.version)
    .bytes(hello.random)
    .vector8(hello.sessionId)
    .vector8(hello.cookie)
    .vector16(suites.finish())
    .vector8(hello.compressionMethods)
  writeExtensions(writer, hello.extensions)
  return writer.finish()
}
