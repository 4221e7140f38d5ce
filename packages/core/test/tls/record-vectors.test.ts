// The simple 1-RTT handshake of RFC 8448 §3: its application traffic, byte for byte.
import { nodeTlsCrypto } from '@twinbore/core/io'
import { describe, expect, test } from 'vitest'
import { ContentType } from '../../src/tls/record-format.ts'
import { hkdfExpandLabel, trafficKeysOf } from '../../src/tls/tls-key-schedule.ts'
import { protectionOf } from '../../src/tls/tls-record-layer.ts'
import { tlsSuite } from '../../src/tls/tls-suite.ts'
import { tls13 } from './support.ts'

const hex = (text: string) => new Uint8Array(Buffer.from(text.replace(/\s/g, ''), 'hex'))

const clientSecret = hex('9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5')
const serverSecret = hex('a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643')
const data = Uint8Array.from({ length: 50 }, (_, i) => i)

// The client's first record under these keys; the server's second one, after its session ticket.
const records = [
  {
    sender: 'client',
    secret: clientSecret,
    sequence: 0,
    record: hex(`17030300 43a23f70 54b62c94 d0affafe 8228ba55 cbefacea 42f914aa 66bcab3f 2b9819a8 a5b46b39
      5bd54a9a 20441e2b 62974e1f 5a6292a2 977014bd 1e3deae6 3aeebb21 694915e4`),
  },
  {
    sender: 'server',
    secret: serverSecret,
    sequence: 1,
    record: hex(`17030300 432e937e 11ef4ac7 40e538ad 36005fc4 a46932fc 3225d05f 82aa1b36 e30efaf9 7d90e6df
      fc602dcb 501a59a8 fcc49c4b f2e5f0a2 1c0047c2 abf33254 0dd032e1 67c2955d`),
  },
]

test('keys of the client come from its secret', () => {
  expect(trafficKeysOf(nodeTlsCrypto.hmac, tls13, clientSecret)).toEqual({
    key: hex('17422dda596ed5d9acd890e3c63f5051'),
    iv: hex('5b78923dee08579033e523d9'),
  })
  expect(hkdfExpandLabel(nodeTlsCrypto.hmac, 'sha256', clientSecret, 'key', 16)).toEqual(
    hex('17422dda596ed5d9acd890e3c63f5051'),
  )
})

describe.each(records)('the record of the $sender', ({ secret, sequence, record }) => {
  test('is made', () => {
    const protection = protectionOf({ suite: tls13, crypto: nodeTlsCrypto }, { secret, sequence }, 'seal')
    const bytes = new Uint8Array(record.length)
    bytes.set(data, protection.headerBytes)
    expect(protection.seal(bytes, 0, data.length, ContentType.applicationData)).toBe(record.length)
    expect(bytes).toEqual(record)
  })

  test('is opened', () => {
    const protection = protectionOf({ suite: tls13, crypto: nodeTlsCrypto }, { secret, sequence }, 'open')
    const output = new Uint8Array(100)
    expect(protection.open(record, 0, output, 10)).toBe(data.length)
    expect(output.subarray(10, 10 + data.length)).toEqual(data)
    expect(protection.contentType).toBe(ContentType.applicationData)
    expect(protection.sequence).toBe(sequence + 1)
  })
})

describe('suites', () => {
  test.each([
    ['TLSv1.2', 'TLS_RSA_WITH_AES_128_GCM_SHA256'],
    ['TLSv1.2', 'TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256'],
    ['TLSv1.2', 'TLS_AES_128_GCM_SHA256'],
    ['TLSv1.3', 'TLS_AES_128_CCM_SHA256'],
    ['TLSv1.3', 'TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256'],
    ['TLSv1.1', 'TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256'],
    ['', ''],
  ])('%s %s is left to others', (version, name) => {
    expect(tlsSuite(version, name)).toBeUndefined()
  })

  test('of TLS 1.2 take cipher and hash from their name', () => {
    expect(tlsSuite('TLSv1.2', 'TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384')).toEqual({
      version: 'TLSv1.2',
      aead: 'aes-256-gcm',
      keyBytes: 32,
      hash: 'sha384',
    })
    expect(tlsSuite('TLSv1.2', 'TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256')).toMatchObject({
      aead: 'chacha20-poly1305',
      keyBytes: 32,
    })
  })
})
