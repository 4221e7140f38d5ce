// Where flow-load.mjs connects to:
//   node flow-services.mjs ADDRESS    prints "ready" when all ports listen
// TCP 7101-7110 echo; 7111 sends 10 MB of sevens and ends.
import { createServer } from 'node:net'

const address = process.argv[2]
const flood = Buffer.alloc(10_000_000, 7)

function serve(port, onSocket) {
  return new Promise(resolve => {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, socket => {
      socket.on('error', () => {})
      onSocket(socket)
    })
    server.listen({ port, host: address, backlog: 4096 }, resolve)
  })
}

for (let port = 7101; port <= 7110; port++) await serve(port, socket => socket.pipe(socket))
await serve(7111, socket => {
  socket.resume()
  socket.end(flood)
})
console.log('ready')
