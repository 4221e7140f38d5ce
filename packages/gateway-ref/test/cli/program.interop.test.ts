// The built program as a process of its own: exit status, signals of a terminal, and what help costs.
import { spawn } from 'node:child_process'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { needs } from '../../../../tests/lab/needs.ts'
import { makeGatewayFiles } from '../config/gateway-files.ts'
import { rightConfiguration, wrongConfigurations } from '../config/wrong-configurations.ts'

const bin = fileURLToPath(new URL('../../dist/bin.js', import.meta.url))
// Every third mistake of the table, and the two files with several.
const chosen = wrongConfigurations.filter((_, i) => i % 3 === 0 || i >= wrongConfigurations.length - 2)

let folder: string
beforeAll(async () => {
  folder = await makeGatewayFiles()
})
afterAll(() => rm(folder, { recursive: true }))

test('at least ten wrong configurations are tried', () => {
  expect(chosen.length).toBeGreaterThanOrEqual(10)
})

test.each(chosen)('%j written as %j: its message, exit code 78', async (right, wrong, ...messages) => {
  await writeFile(join(folder, 'gateway.yaml'), rightConfiguration.replace(right, wrong))
  const { code, stdout, stderr } = await run(['gateway', '--config', 'gateway.yaml'])
  expect(stderr.replaceAll(folder, 'DIR')).toBe(`${messages.join('\n')}\n`)
  expect({ code, stdout }).toEqual({ code: 78, stdout: '' })
})

test.each([
  [['--help'], 0],
  [['check-config', '--config', 'right.yaml'], 0],
  [['user', 'list', '--users', 'none.yaml'], 1],
  [['user', 'lsit'], 2],
  [['check-config', '--config', 'none.yaml'], 78],
])('%j exits with %i', async (args, code) => {
  await writeFile(join(folder, 'right.yaml'), rightConfiguration)
  expect((await run(args)).code).toBe(code)
})

test('help loads nothing that only commands need', async () => {
  const coverage = join(folder, 'coverage')
  expect((await run(['--help'], { environment: { NODE_V8_COVERAGE: coverage } })).code).toBe(0)
  const [name] = await readdir(coverage)
  const { result } = JSON.parse(await readFile(join(coverage, name!), 'utf8')) as { result: { url: string }[] }
  const packages = new Set(result.flatMap(({ url }) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? []))
  expect([...packages].sort()).toEqual(['commander'])
})

describe('a password on standard input', () => {
  test('is read to the end of its line, also when the input stays open', async () => {
    const child = start(['user', 'add', 'anna', '--users', 'new.yaml'])
    child.stdin.write('CANARY\n')
    const { code, stdout, stderr } = await finished(child)
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "user 'anna' added to new.yaml\n", stderr: '' })
    expect(await readFile(join(folder, 'new.yaml'), 'utf8')).not.toContain('CANARY')
  })
})

needs('script')('a password on a terminal', () => {
  test('is asked for twice and never shown', async () => {
    const { child, output, until } = terminal(['user', 'add', 'tina', '--users', 'terminal.yaml'])
    await until('Password for tina: ')
    child.stdin.write('CANARY1\r')
    await until('Once more: ')
    child.stdin.write('CANARY1\r')
    expect((await finished(child)).code).toBe(0)
    expect(output()).toContain("user 'tina' added to terminal.yaml")
    expect(output()).not.toContain('CANARY')
  })

  test('can be given up with Ctrl-C: exit code 1, and nothing is written', async () => {
    const { child, until } = terminal(['user', 'add', 'tina', '--users', 'given-up.yaml'])
    await until('Password for tina: ')
    child.stdin.write('abc\u0003')
    expect((await finished(child)).code).toBe(1)
    expect(await readdir(folder)).not.toContain('given-up.yaml')
  })
})

// Runs the program behind a pseudo-terminal that script(1) makes. It takes the input from a pipe and hands the output on.
function terminal(args: readonly string[]) {
  const command = [process.execPath, bin, ...args].map(word => `'${word}'`).join(' ')
  const child = spawnIn('script', ['--quiet', '--return', '--echo', 'never', '--command', command, '/dev/null'])
  let text = ''
  let wake = () => {}
  child.stdout.on('data', (bytes: Buffer) => {
    text += bytes.toString()
    wake()
  })
  const until = async (words: string) => {
    while (!text.includes(words)) {
      await new Promise<void>(resolve => {
        wake = resolve
      })
    }
  }
  return { child, output: () => text, until }
}

function run(args: readonly string[], options: { environment?: Record<string, string> } = {}) {
  const child = start(args, options.environment)
  child.stdin.end()
  return finished(child)
}

function start(args: readonly string[], environment: Record<string, string> = {}) {
  return spawnIn(process.execPath, [bin, ...args], environment)
}

function spawnIn(command: string, args: readonly string[], environment: Record<string, string> = {}) {
  const child = spawn(command, args, {
    cwd: folder,
    env: { PATH: process.env.PATH, NO_COLOR: '1', ...environment },
    timeout: 60_000,
    killSignal: 'SIGKILL',
  })
  // A program that ends before it has read its input is no failure of the test.
  child.stdin.on('error', () => {})
  return child
}

function finished(child: ReturnType<typeof spawnIn>): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const texts = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].on('data', (bytes: Buffer) => {
      texts[name] += bytes.toString()
    })
  }
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', code => resolve({ code, ...texts }))
  })
}
