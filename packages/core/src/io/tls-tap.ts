import type { Socket } from 'node:net'
import { Duplex, type Readable } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { RecordCutter } from '../tls/record-cutter.ts'
import { fragmentBytesAt, RECORD_HEADER_BYTES } from '../tls/record-format.ts'
import type { TlsAeadMaker } from '../tls/tls-crypto.ts'
import { wipe } from '../tls/tls-key-schedule.ts'
import { TlsRecordLayer } from '../tls/tls-record-layer.ts'
import { tlsSuite } from '../tls/tls-suite.ts'
import { TrafficSecrets } from '../tls/traffic-secrets.ts'
import { nodeTlsCrypto } from './node-tls-crypto.ts'

/** A connection that was taken over from Node's TLS. */
export interface TakenConnection {
  /** Belongs to the taker, with all listeners of the tap gone. */
  readonly raw: Socket
  readonly layer: TlsRecordLayer
  /** Plaintext that Node's TLS had opened already. */
  readonly plaintext: Uint8Array
  /** Bytes of records that follow it. */
  readonly ciphertext: Uint8Array
}

export interface TlsTapOptions {
  readonly role: 'client' | 'server'
  readonly aead: TlsAeadMaker
  /** Runs whenever records reach the TLSSocket, and with it everything that they cause at once. */
  readonly around?: (deliver: () => boolean) => boolean
}

/** The tap below a TLSSocket. Whoever puts one there notes it here. */
export const taps: WeakMap<TLSSocket, TlsTap> = new WeakMap()

/** The TCP socket of a TLS connection, as far as addresses and closing matter. */
export function transportOf(socket: TLSSocket): Socket {
  return taps.get(socket)?.raw ?? socket
}

/**
 * Stands between a TCP socket and a TLSSocket, which sees it as any duplex, and hands over whole records only. It follows the
 * records of both directions, so that the connection can be taken over, once both sides have sent data:
 *
 *     before:  TCP <-> tap <-> TLSSocket          after:  TCP <-> TlsRecordLayer of the taker
 */
export class TlsTap extends Duplex {
  readonly raw: Socket
  readonly secrets: TrafficSecrets = new TrafficSecrets()
  private readonly received = new RecordCutter()
  private readonly sent = new RecordCutter()
  private readonly options: TlsTapOptions
  private detached = false

  constructor(raw: Socket, options: TlsTapOptions) {
    super({ allowHalfOpen: raw.allowHalfOpen })
    this.raw = raw
    this.options = options
    raw.on('data', this.onData)
    raw.on('end', this.onEnd)
    raw.on('error', this.onError)
    raw.on('close', this.onClose)
  }

  /**
   * Takes the connection from `tls`, which is over this tap, paused, and has nothing left to write. `undefined`, and nothing
   * has changed, when its suite is not known or the state of its records is not certain.
   */
  takeOver(tls: TLSSocket): TakenConnection | undefined {
    const { raw, received, sent, secrets } = this
    const { role, aead } = this.options
    if (this.detached || raw.destroyed || tls.destroyed || raw.readableEnded) return undefined
    const suite = tlsSuite(tls.getProtocol() ?? '', tls.getCipher()?.standardName ?? '')
    if (!suite || sent.incomplete.length > 0) return undefined
    const crypto = { ...nodeTlsCrypto, aead }
    const [fromClient, fromServer] = role === 'client' ? [sent, received] : [received, sent]
    const states = secrets.states(suite, crypto, fromClient, fromServer)
    if (!states) return undefined

    this.detached = true
    raw.off('data', this.onData)
    raw.off('end', this.onEnd)
    raw.off('error', this.onError)
    raw.off('close', this.onClose)
    raw.pause()
    const plaintext = drained(tls)
    const waiting = drained(this)
    const ciphertext = Buffer.concat([waiting, received.incomplete, drained(raw)])
    const opening = role === 'client' ? states.server : states.client
    const layer = new TlsRecordLayer({
      suite,
      crypto,
      role,
      sealing: role === 'client' ? states.client : states.server,
      opening: { ...opening, sequence: opening.sequence - countRecords(waiting) },
    })
    for (const state of [states.client, states.server]) if ('keys' in state) wipe(state.keys.key, state.keys.iv)
    secrets.wipe()
    tls.destroy()
    this.destroy()
    return { raw, layer, plaintext, ciphertext }
  }

  override emit(event: string | symbol, ...args: unknown[]): boolean {
    if (event !== 'data') return super.emit(event, ...args)
    if (this.detached) return false
    const { around } = this.options
    return around ? around(() => super.emit(event, ...args)) : super.emit(event, ...args)
  }

  override _read(): void {
    if (!this.detached) this.raw.resume()
  }

  override _write(chunk: Uint8Array, _encoding: string, done: (error?: Error | null) => void): void {
    // What Node's TLS still writes would have numbers that the taker uses.
    if (this.detached) {
      done()
      return
    }
    this.sent.push(chunk)
    this.raw.write(chunk, done)
  }

  override _final(done: (error?: Error | null) => void): void {
    if (!this.detached) this.raw.end()
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.secrets.wipe()
    if (!this.detached) this.raw.destroy()
    done(error)
  }

  private readonly onData = (chunk: Uint8Array): void => {
    const records = this.received.push(chunk)
    if (records.length > 0 && !this.push(records)) this.raw.pause()
  }

  private readonly onEnd = (): void => {
    this.push(null)
  }

  private readonly onError = (error: Error): void => {
    this.destroy(error)
  }

  private readonly onClose = (): void => {
    this.destroy()
  }
}

function drained(stream: Readable): Buffer {
  const chunks: Buffer[] = []
  for (let chunk = stream.read() as Buffer | null; chunk !== null; chunk = stream.read() as Buffer | null)
    chunks.push(chunk)
  return Buffer.concat(chunks)
}

function countRecords(bytes: Uint8Array): number {
  let count = 0
  for (let at = 0; at < bytes.length; at += RECORD_HEADER_BYTES + fragmentBytesAt(bytes, at)) count++
  return count
}
