// What users run is kept compiled; here it is compiled anew.
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import openWabt from 'wabt'
import { checksumModule } from '../../src/packet/checksum-module.ts'

test('the WebAssembly module is what its source gives', async () => {
  const wabt = await openWabt()
  const source = readFileSync(new URL('../../src/packet/checksum.wat', import.meta.url), 'utf8')
  const module = wabt.parseWat('checksum.wat', source)
  const expected = Buffer.from(module.toBinary({}).buffer).toString('base64')
  module.destroy()
  // Where they differ, the text that is expected belongs into checksum-module.ts.
  expect(Buffer.from(checksumModule()).toString('base64')).toBe(expected)
})
