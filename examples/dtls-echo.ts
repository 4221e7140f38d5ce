// A DTLS echo over loopback with a pre-shared key: a server on a UDP socket, a client, one datagram there and back.
//
//   npx tsx examples/dtls-echo.ts
//
// Prints:
//   server: 'sensor-7' is here, DTLSv1.2, TLS_PSK_WITH_AES_256_GCM_SHA384
//   client: established, 37 bytes of overhead for each datagram
//   client: 'hello over UDP' came back
//   both sides can derive the same further keys: true
//   client: closed (local)
//   server: closed (peer)
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect, createServer } from '@twinbore/dtls/io'

const keys = new Map([['sensor-7', new Uint8Array(32).fill(0x2a)]])
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
const bytes = (value: string): Uint8Array => new TextEncoder().encode(value)
const hex = (value: Uint8Array): string => Buffer.from(value).toString('hex')

const socket = createSocket('udp4')
socket.bind(0, '127.0.0.1')
await once(socket, 'listening')

const server = createServer(socket, {
  findPsk: (_sessionId, identity) => keys.get(text(identity)),
  cipherSuites: ['TLS_PSK_WITH_AES_256_GCM_SHA384', 'TLS_PSK_WITH_CHACHA20_POLY1305_SHA256'],
})
let exported = ''
server.on('connection', peer => {
  const { identity, version, cipherSuite } = peer.negotiated!
  console.log(`server: '${text(identity)}' is here, ${version}, ${cipherSuite}`)
  exported = hex(peer.exportKeyingMaterial(32, 'EXPORTER-example'))
  peer.on('message', message => peer.send(message))
  peer.on('closed', ({ reason }) => {
    console.log(`server: closed (${reason})`)
    server.close()
  })
})

const client = connect({
  address: '127.0.0.1',
  port: socket.address().port,
  psk: { identity: 'sensor-7', key: keys.get('sensor-7')! },
})
client.on('established', ({ overhead }) => {
  console.log(`client: established, ${overhead} bytes of overhead for each datagram`)
  client.send(bytes('hello over UDP'))
})
client.on('message', message => {
  console.log(`client: '${text(message)}' came back`)
  const ours = hex(client.exportKeyingMaterial(32, 'EXPORTER-example'))
  console.log(`both sides can derive the same further keys: ${ours === exported}`)
  client.close()
})
client.on('closed', ({ reason, error }) => {
  console.log(`client: closed (${reason})`)
  if (error) {
    console.error(error.message)
    server.close()
    process.exitCode = 1
  }
})
