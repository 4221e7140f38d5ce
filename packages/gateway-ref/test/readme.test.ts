import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { resolveGatewayOptions } from '../src/config/resolve-options.ts'
import { readYaml } from '../src/config/yaml-source.ts'

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')

test('the configuration of the README is one, without a mistake and without a doubt', () => {
  const [, text] = /```yaml\n(# yaml-language-server[\s\S]*?)```/.exec(readme)!
  const { value } = readYaml(text!, 'README.md')
  expect(Object.keys(value as object)).toContain('egress')
  expect(resolveGatewayOptions(value, path => path).problems).toEqual([])
})
