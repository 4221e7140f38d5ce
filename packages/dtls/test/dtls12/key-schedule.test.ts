import { describe, expect, test } from 'vitest'
import { deriveSecrets, exportKeyingMaterial, pskPreMasterSecret, verifyData } from '../../src/dtls12/key-schedule.ts'
import { cipherSuites } from '../../src/index.ts'
import { nodeCrypto } from '../../src/io/index.ts'
import { bytes } from '../bytes.ts'

const clientRandom = new Uint8Array(32).fill(1)
const serverRandom = new Uint8Array(32).fill(2)
const preMaster = pskPreMasterSecret(bytes('aabbcc'))

function secrets(sessionHash?: Uint8Array) {
  return deriveSecrets(nodeCrypto, cipherSuites[0]!, preMaster, clientRandom, serverRandom, sessionHash)
}

test('the pre-master secret is zeros and the key, each with its length (RFC 4279 §2)', () => {
  expect(preMaster).toEqual(bytes('0003 000000 0003 aabbcc'))
})

test('the extended master secret depends on the handshake and not on the randoms (RFC 7627 §4)', () => {
  const hash = new Uint8Array(32).fill(9)
  const bound = secrets(hash)
  expect(bound.master.length).toBe(48)
  expect(bound.master).not.toEqual(secrets().master)
  const elsewhere = deriveSecrets(nodeCrypto, cipherSuites[0]!, preMaster, serverRandom, clientRandom, hash)
  expect(elsewhere.master).toEqual(bound.master)
})

test('Finished differs by side and by handshake', () => {
  const hash = new Uint8Array(32)
  const finished = verifyData(secrets(), 'client', hash)
  expect(finished.length).toBe(12)
  expect(verifyData(secrets(), 'server', hash)).not.toEqual(finished)
  expect(verifyData(secrets(), 'client', new Uint8Array(32).fill(1))).not.toEqual(finished)
})

describe('exported keying material (RFC 5705)', () => {
  test('no context and an empty context differ', () => {
    const without = exportKeyingMaterial(secrets(), 32, 'EXPORTER-x', undefined)
    expect(exportKeyingMaterial(secrets(), 32, 'EXPORTER-x', new Uint8Array(0))).not.toEqual(without)
    expect(exportKeyingMaterial(secrets(), 16, 'EXPORTER-x', undefined)).toEqual(without.slice(0, 16))
  })

  test.each([
    'client finished',
    'server finished',
    'master secret',
    'extended master secret',
    'key expansion',
    '',
    'é',
  ])('refuses the label %j', label => {
    expect(() => exportKeyingMaterial(secrets(), 32, label, undefined)).toThrow(RangeError)
  })

  test.each([0, -1, 1.5, 65_537, Number.NaN])('refuses the length %d', length => {
    expect(() => exportKeyingMaterial(secrets(), length, 'EXPORTER-x', undefined)).toThrow(RangeError)
  })
})
