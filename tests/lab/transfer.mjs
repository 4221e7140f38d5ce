// Both ends of a file transfer, each with a SHA-256 of what really passed through it.
//   node transfer.mjs serve ADDRESS PORT          answers GET /BYTES and POST /
//   node transfer.mjs get URL | put URL BYTES     prints one JSON line: bytes, seconds, and both sides' hashes;
//                                                LOCAL_ADDRESS is the address that it comes from
import { createCipheriv, createHash } from 'node:crypto'
import { createServer, request } from 'node:http'
import { Readable } from 'node:stream'

const [, , command, ...args] = process.argv
const chunkBytes = 64 * 1024

// Incompressible and different on each run; chunks of odd sizes, so that no border falls on a packet's.
function* content(total, seed) {
  const cipher = createCipheriv('aes-128-ctr', seed, Buffer.alloc(16))
  for (let left = total, n = 0; left > 0; n += 1) {
    const size = Math.min(left, chunkBytes - ((n * 7919) % 1021))
    left -= size
    yield cipher.update(Buffer.alloc(size))
  }
}

function hashed(stream) {
  return new Promise((resolve, reject) => {
    const hash = createHash('sha256')
    let bytes = 0
    stream.on('data', chunk => {
      hash.update(chunk)
      bytes += chunk.length
    })
    stream.on('end', () => resolve({ bytes, sha256: hash.digest('hex') }))
    stream.on('error', reject)
    stream.on('aborted', () => reject(new Error('the connection ended early')))
  })
}

const seed = createHash('sha256').update(String(process.hrtime.bigint())).digest().subarray(0, 16)

if (command === 'serve') {
  const [address, port] = args
  createServer(async (req, res) => {
    try {
      if (req.method === 'POST') {
        res.end(JSON.stringify({ ...(await hashed(req)), peer: req.socket.remoteAddress }))
        return
      }
      const total = Number(req.url.slice(1))
      const sent = createHash('sha256')
      for (const chunk of content(total, seed)) sent.update(chunk)
      res.writeHead(200, {
        'content-length': total,
        'x-sha256': sent.digest('hex'),
        'x-peer': req.socket.remoteAddress,
      })
      Readable.from(content(total, seed)).pipe(res)
    } catch (error) {
      console.error(error.message)
      res.destroy()
    }
  }).listen(Number(port), address, () => console.log('ready'))
} else {
  const [url, total] = args
  const startedAt = performance.now()
  const put = command === 'put'
  const outgoing = request(url, {
    localAddress: process.env.LOCAL_ADDRESS,
    ...(put && { method: 'POST', headers: { 'content-length': total } }),
  })
  const answered = new Promise((resolve, reject) => outgoing.on('response', resolve).on('error', reject))
  const local = put ? hashed(Readable.from(content(Number(total), seed))) : undefined
  if (put) Readable.from(content(Number(total), seed)).pipe(outgoing)
  else outgoing.end()
  const response = await answered
  let result
  if (put) {
    let text = ''
    for await (const chunk of response) text += chunk
    const remote = JSON.parse(text)
    result = { bytes: remote.bytes, here: (await local).sha256, there: remote.sha256, peer: remote.peer }
  } else {
    const received = await hashed(response)
    const { 'x-sha256': there, 'x-peer': peer } = response.headers
    result = { bytes: received.bytes, here: received.sha256, there, peer }
  }
  console.log(JSON.stringify({ ...result, seconds: (performance.now() - startedAt) / 1000 }))
}
