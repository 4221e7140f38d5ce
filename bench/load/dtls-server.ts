// Our DTLS server on a loopback port, for `bench -- handshake`; it asks for no cookies.  Argument: the key in hex; prints "ready PORT".
import { createSocket } from 'node:dgram'
import { createServer } from '@twinbore/dtls/io'

const key = Buffer.from(process.argv[2]!, 'hex')
const socket = createSocket('udp4')
socket.bind(0, '127.0.0.1', () => {
  createServer(socket, { findPsk: () => key, cookies: 'never' })
  console.log(`ready ${socket.address().port}`)
})
