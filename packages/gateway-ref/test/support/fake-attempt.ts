import { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { encodeStreamFrame, type FrameType, type TunnelParameters, type TunnelRequest } from '@twinbore/core'
import type { TunnelAttempt } from '@twinbore/core/io'

/** The gateway's end of a connection that is no connection: what it sends is kept, what it gets is pushed. */
export class FakeSocket extends Duplex {
  readonly sent: Uint8Array[] = []

  setNoDelay(): this {
    return this
  }

  setTimeout(): this {
    return this
  }

  /** A frame comes in. */
  receive(type: FrameType, payload: Uint8Array): void {
    this.emit('data', encodeStreamFrame(type, payload))
  }

  /** Frames of a type that were sent, without their headers. */
  frames(type: FrameType): Uint8Array[] {
    return this.sent.filter(frame => frame[6] === type).map(frame => frame.subarray(8))
  }

  override _read(): void {}

  override _write(chunk: Uint8Array, _encoding: string, done: () => void): void {
    this.sent.push(Uint8Array.from(chunk))
    done()
  }
}

export const datagramWish = { cipherSuites: ['PSK-NEGOTIATE'], dtls12CipherSuites: [], encodings: [] }

/** A CONNECT request that keeps its answer. */
export class FakeAttempt implements TunnelAttempt {
  readonly cookie: string | undefined
  readonly request: TunnelRequest
  readonly remoteAddress: string
  readonly remotePort = 40_000
  readonly localAddress = '192.0.2.1'
  readonly localPort = 443
  readonly pskKey: Uint8Array
  readonly tlsVersion = 'TLSv1.3'
  readonly cipher = 'TLS_AES_128_GCM_SHA256'
  readonly socket: FakeSocket = new FakeSocket()
  granted: TunnelParameters | undefined = undefined
  refused: { readonly status: number; readonly reason: string } | undefined = undefined
  /** Runs before the answer is on its way. */
  onAccept: ((parameters: TunnelParameters) => void) | undefined = undefined
  private readonly isGone: boolean

  constructor(
    cookie: string | undefined,
    options: {
      readonly request?: Partial<TunnelRequest>
      readonly remoteAddress?: string
      /** Whether the client has gone before it can be answered. */
      readonly gone?: boolean
      readonly key?: number
    } = {},
  ) {
    this.cookie = cookie
    this.request = {
      ipv4: true,
      ipv6: true,
      fullIpv6: true,
      addresses: [],
      streamEncodings: [],
      device: {},
      datagram: datagramWish,
      ...options.request,
    }
    this.remoteAddress = options.remoteAddress ?? '198.51.100.7'
    this.pskKey = new Uint8Array(32).fill(options.key ?? 1)
    this.isGone = options.gone ?? false
  }

  accept(parameters: TunnelParameters): ReturnType<TunnelAttempt['accept']> {
    if (this.granted || this.refused) throw new TypeError('answered already')
    this.onAccept?.(parameters)
    this.granted = parameters
    if (this.isGone) return undefined
    const socket = this.socket as unknown as TLSSocket
    return { socket, transport: socket, head: new Uint8Array(0) }
  }

  refuse(status: 401 | 503, reason: string): void {
    if (this.granted || this.refused) throw new TypeError('answered already')
    this.refused = { status, reason }
  }
}
