import type { TLSSocket } from 'node:tls'
import { type HeaderLines, isHeaderText } from '../protocol/http-message.ts'
import type { TunnelParameters } from '../protocol/tunnel-parameters.ts'
import { writeTunnelReply } from '../protocol/tunnel-reply.ts'
import { readTunnelRequest, type TunnelRequest, tunnelCookie, wantsPsk } from '../protocol/tunnel-request.ts'
import type { ControlConnection } from './connection-limits.ts'
import type { EstablishedStream, TunnelAttempt } from './control-listener-types.ts'
import { verifiedPeerCertificate } from './peer-certificate.ts'
import { transportOf } from './tls-tap.ts'

/** The key of the datagram channel: no context at all, which TLS 1.2 tells apart from an empty one (RFC 5705 §4). */
export function exportPskKey(socket: TLSSocket): Uint8Array {
  // The typings want a context; to go without one the call has two arguments.
  const exporter = socket as unknown as { exportKeyingMaterial(length: number, label: string): Uint8Array }
  return exporter.exportKeyingMaterial(32, 'EXPORTER-openconnect-psk')
}

/** Makes the attempt of a CONNECT request. `onAnswered` runs once, before the answer is written. */
export function tunnelAttempt(
  socket: TLSSocket,
  head: Uint8Array,
  headers: HeaderLines,
  connection: ControlConnection,
  onAnswered: (accepted: boolean) => void,
): TunnelAttempt {
  const request: TunnelRequest = readTunnelRequest(headers)
  const peerCertificate = verifiedPeerCertificate(socket)
  const { remoteAddress, remotePort, localAddress, localPort } = connection
  let answered = false
  const answer = (accepted: boolean) => {
    if (answered) throw new TypeError('the attempt is answered already')
    answered = true
    onAnswered(accepted)
  }
  return {
    cookie: tunnelCookie(headers),
    request,
    remoteAddress,
    remotePort,
    localAddress,
    localPort,
    ...(peerCertificate ? { peerCertificate } : {}),
    pskKey: exportPskKey(socket),
    tlsVersion: socket.getProtocol() ?? '',
    cipher: socket.getCipher().standardName,
    accept(parameters: TunnelParameters, extraHeaders: HeaderLines = []): EstablishedStream | undefined {
      for (const [name, value] of extraHeaders) {
        if (!/^[\w-]+$/.test(name) || !isHeaderText(value))
          throw new TypeError(`'${name}' can't stand in a header line`)
      }
      answer(true)
      if (socket.destroyed || !socket.writable) return undefined
      // A client that can't make the key would find an offer that it doesn't understand.
      const { datagram, ...withoutDatagram } = parameters
      const granted = datagram && wantsPsk(request) ? parameters : withoutDatagram
      const lines = [...writeTunnelReply(granted, request), ...extraHeaders]
      socket.setTimeout(0)
      socket.setNoDelay(true)
      socket.write(`HTTP/1.1 200 CONNECTED\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`)
      return { socket, transport: transportOf(socket), head }
    },
    refuse(status: 401 | 503, reason: string): void {
      if (!isHeaderText(reason)) throw new TypeError('reason must be one line of text')
      answer(false)
      const phrase = status === 401 ? 'Cookie is not acceptable' : 'Service Unavailable'
      socket.end(
        `HTTP/1.1 ${status} ${phrase}\r\nX-Reason: ${reason}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
      )
      socket.resume()
    },
  }
}
