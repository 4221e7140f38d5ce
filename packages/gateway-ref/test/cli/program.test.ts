import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeGatewayFiles } from '../config/gateway-files.ts'
import { rightConfiguration, wrongConfigurations } from '../config/wrong-configurations.ts'
import { runMain } from './run-main.ts'

let folder: string
beforeAll(async () => {
  folder = await makeGatewayFiles()
  await writeFile(join(folder, 'right.yaml'), rightConfiguration)
})
afterAll(() => rm(folder, { recursive: true }))

describe('words', () => {
  test.each([
    [['--help'], /A gateway in four steps:[\s\S]*Exit codes: 0/],
    [['gateway', '--help'], /SIGHUP[\s\S]*TWINBORE_LISTEN_PORT=8443/],
    [['check-config', '--help'], /is not an IPv4 prefix/],
    [['user', '--help'], /twinbore user add anna/],
    [['user', 'add', '--help'], /--otp/],
    [['connect', '--help'], /--server-pin <pin>[\s\S]*Examples:/],
    [['demo', '--help'], /--once/],
    [['--version'], /^\d+\.\d+\.\d+\n$/],
  ])('%j is answered on standard output, exit code 0', async (args, text) => {
    const { code, stdout, stderr } = await runMain(args)
    expect(stdout).toMatch(text)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  })

  test.each([
    [[], 'Usage: twinbore'],
    [['gatewya'], "unknown command 'gatewya'\n(Did you mean gateway?)"],
    [['gateway'], "required option '-c, --config <file>' not specified"],
    [['gateway', '--config'], "option '-c, --config <file>' argument missing"],
    [['gateway', '--config', 'a', '--port', '1'], "unknown option '--port'"],
    [['check-config', '--config', 'a', 'b'], 'too many arguments'],
    [['user'], 'Usage: twinbore user'],
    [['user', 'add', 'anna'], "required option '-u, --users <file>' not specified"],
    [['connect'], "missing required argument 'url'"],
    [['connect', 'x', '--server-pin', 'abc'], 'A pin is pin-sha256:'],
    [['connect', 'x', '--log', 'loud'], 'A level is one of'],
    [['demo', '--port', '70000'], 'A port is a number from 0 to 65535'],
  ])('%j is a usage error: exit code 2', async (args, text) => {
    const { code, stdout, stderr } = await runMain(args)
    expect(stderr).toContain(text)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  })
})

describe('check-config', () => {
  test('says that a configuration can be used', async () => {
    const result = await run(['check-config', '--config', 'right.yaml'])
    expect(result).toEqual({ code: 0, stdout: 'right.yaml: ok\n', stderr: '' })
  })

  test('prints the effective configuration, the environment included', async () => {
    const { code, stdout } = await run(['check-config', '--config', 'right.yaml', '--effective'], {
      TWINBORE_SESSION_DPD_SECONDS: '7',
    })
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ pool: { ipv4: '192.168.77.0/24' }, session: { dpdSeconds: 7 } })
  })

  test('tells warnings and goes on', async () => {
    const text = rightConfiguration.replace('[10.2.0.2]', '[10.9.0.2]')
    await writeFile(join(folder, 'doubtful.yaml'), text)
    const result = await run(['check-config', '--config', 'doubtful.yaml'])
    expect(result).toEqual({
      code: 0,
      stdout: 'doubtful.yaml: ok, with 1 warning\n',
      stderr: `warning: doubtful.yaml:4: dns.servers[0]: '10.9.0.2' is not routed into the tunnel; clients may not reach it: add 10.9.0.2/32 to routes.include\n`,
    })
  })
})

describe('a wrong configuration', () => {
  test.each(wrongConfigurations)('%j written as %j: its message, exit code 78', async (right, wrong, ...messages) => {
    await writeFile(join(folder, 'gateway.yaml'), rightConfiguration.replace(right, wrong))
    expect(await run(['check-config', '--config', 'gateway.yaml'])).toEqual({
      code: 78,
      stdout: '',
      stderr: `${messages.join('\n')}\n`,
    })
  })

  test.each(['check-config', 'gateway'])('%s without the file: exit code 78', async command => {
    expect(await run([command, '--config', 'none.yaml'])).toEqual({
      code: 78,
      stdout: '',
      stderr: `none.yaml: can't be read: there is no such file\n`,
    })
  })
})

describe('user', () => {
  let users: string
  beforeAll(() => {
    users = join(folder, 'made.yaml')
  })
  const user = (words: readonly string[], input = '') => runMain(['user', ...words, '--users', users], { input })

  test('add, list, set-password and remove, with passwords from standard input', async () => {
    expect(await user(['add', 'anna', '--group', 'staff', '--group', 'admins'], 'CANARY 1\n')).toEqual({
      code: 0,
      stdout: `user 'anna' added to ${users}\n`,
      stderr: '',
    })
    const otp = await user(['add', 'ben', '--otp'], 'CANARY 2')
    expect(otp.stdout).toMatch(/otpauth:\/\/totp\/Twinbore:ben\?secret=[A-Z2-7]{32}&issuer=Twinbore&/)
    expect((await user(['list'])).stdout).toBe('anna\tpassword; groups staff,admins\nben\tpassword; one-time codes\n')
    expect(JSON.parse((await user(['list', '--json'])).stdout)).toHaveLength(2)

    const before = await readFile(users, 'utf8')
    expect((await user(['set-password', 'anna'], 'CANARY 3\n')).stdout).toBe(`password of 'anna' changed in ${users}\n`)
    expect(await readFile(users, 'utf8')).not.toBe(before)
    expect((await user(['remove', 'ben'])).stdout).toBe(`user 'ben' removed from ${users}\n`)
    expect((await user(['list'])).stdout).toBe('anna\tpassword; groups staff,admins\n')
    expect(await readFile(users, 'utf8')).not.toContain('CANARY')
  })

  test.each([
    [['add', 'anna'], 'secret\n', "has a user 'anna' already"],
    [['add', 'x y'], 'secret\n', "'x y' is not a user name"],
    [['add', 'carla'], '', 'standard input ended before the password'],
    [['add', 'carla'], '\n', 'the password is empty'],
    [['add', 'carla'], `${'x'.repeat(1025)}\n`, 'a password has at most 1024 characters'],
    [['add', 'carla', '--password-file', '/nonexistent'], '', "'/nonexistent' can't be read: there is no such file"],
    [['remove', 'carla'], '', "has no user 'carla'"],
  ])('%j fails in one line, exit code 1', async (words, input, text) => {
    const { code, stdout, stderr } = await user(words, input)
    expect(stderr).toMatch(/^twinbore: [^\n]*\n$/)
    expect(stderr).toContain(text)
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  })
})

// Runs the program as if in the folder of the files: their names get the folder, and lose it in what it prints.
async function run(args: readonly string[], environment: Record<string, string> = {}) {
  const words = args.map(word => (word.endsWith('.yaml') ? join(folder, word) : word))
  const { code, stdout, stderr } = await runMain(words, { environment })
  const shorten = (text: string) => text.replaceAll(/(^|\s)\S*\/([a-z]+\.yaml:)/gm, '$1$2').replaceAll(folder, 'DIR')
  return { code, stdout: shorten(stdout), stderr: shorten(stderr) }
}
