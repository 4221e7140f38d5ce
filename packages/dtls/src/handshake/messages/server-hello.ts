import { ByteReader } from '../byte-reader.ts'
import { ByteWriter } from '../byte-writer.ts'
import { type ExtensionList, readExtensions, writeExtensions } from '../extensions/extension-list.ts'
import { RANDOM_BYTES } from './client-hello.ts'

/** RFC 5246 §7.4.1.3 */
export interface ServerHello {
  readonly version: number
  readonly random: Uint8Array
  /** 0 to 32 bytes. */
  readonly sessionId: Uint8Array
  readonly cipherSuite: number
  readonly compressionMethod: number
  readonly extensions: ExtensionList
}

export function readServerHello(body: Uint8Array): ServerHello | undefined {
  const reader = new ByteReader(body)
  const version = reader.uint16()
  const random = reader.take(RANDOM_BYTES)
  const sessionId = reader.vector8()
  const cipherSuite = reader.uint16()
  const compressionMethod = reader.uint8()
  const extensions = readExtensions(reader)
  if (!reader.complete || extensions === undefined || sessionId.length > 32) return undefined
  return { version, random, sessionId, cipherSuite, compressionMethod, extensions }
}

export function writeServerHello(hello: ServerHello): Uint8Array {
  const writer = new ByteWriter()
    .uint16(hello.version)
    .bytes(hello.random)
    .vector8(hello.sessionId)
    .uint16(hello.cipherSuite)
    .uint8(hello.compressionMethod)
  writeExtensions(writer, hello.extensions)
  return writer.finish()
}
