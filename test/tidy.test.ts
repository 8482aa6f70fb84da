/**
 * The house rules, as far as a machine can hold them. Each message names what to do instead.
 * The formatter, the linter and the compiler hold the others: run `bun run ok`.
 */

import { describe, expect, test } from "bun:test";
import packageJson from "../package.json" with { type: "json" };
import packageLock from "../package-lock.json" with { type: "json" };
import { configurationNames } from "../src/config.ts";
import { migrationFiles } from "../src/database/migration-files.ts";
import { errorCatalogue } from "../src/errors.ts";
import { findCycles, importViolation } from "./import-rules.ts";
import { firstColumnNames, lineAt, readRootFile, readSourceFiles } from "./source-files.ts";

const LINES_MAX = 300;
const TEST_LINES_MAX = 500;
const COLUMNS_MAX = 100;

const sources = readSourceFiles("src/**/*.*");
const programs = readSourceFiles("{src,test,appliance}/**/*.{ts,tsx}");
const texts = readSourceFiles("{src,test,appliance,migrations}/**/*.{ts,tsx,css,sql,sh}");

describe("imports", () => {
  test("point one way: edges, domains, database, root files", () => {
    const violations = sources.flatMap(({ path, imports }) =>
      imports.flatMap((target) => {
        const reason = importViolation(path, target);
        return reason === undefined ? [] : [`${path} imports ${target}: ${reason}`];
      }),
    );
    expect(violations).toEqual([]);
  });

  test.each([
    ["src/main.ts", "src/app.ts", false],
    ["src/main.ts", "src/cli/serve.ts", true],
    ["src/app.ts", "src/gateway/routes.ts", true],
    ["src/cli/serve.ts", "src/app.ts", true],
    ["src/gateway/routes.ts", "src/app.ts", false],
    ["src/gateway/routes.ts", "src/management/parse.ts", false],
    ["src/gateway/routes.ts", "src/keys/authenticate.ts", true],
    ["src/keys/authenticate.ts", "src/gateway/routes.ts", false],
    ["src/ledger/account.ts", "src/reservations/settle.ts", false],
    ["src/providers/openai.ts", "src/database/client.ts", false],
    ["src/database/client.ts", "src/ledger/account.ts", false],
    ["src/money.ts", "src/database/client.ts", false],
    ["src/dashboard/assets.ts", "src/keys/token.ts", false],
    ["src/dashboard/browser/app.tsx", "src/money.ts", false],
  ])("%s importing %s: allowed is %p", (from, to, isAllowed) => {
    expect(importViolation(from, to) === undefined).toBe(isAllowed);
  });

  test("form no cycle", () => {
    const graph = new Map(sources.map(({ path, imports }) => [path, imports]));
    const cycles = findCycles(graph).map((cycle) => cycle.join(" -> "));
    expect(cycles, "move what both need into a file of its own").toEqual([]);
  });

  test("reach every file in src", () => {
    const entries = ["src/main.ts", "src/dashboard/browser/app.html"];
    const imported = new Set([...sources, ...programs].flatMap((file) => file.imports));
    const lonely = sources
      .map(({ path }) => path)
      .filter((path) => !(imported.has(path) || entries.includes(path)))
      .filter((path) => !/\.d\.ts$|\.test\.ts$/.test(path));
    expect(lonely, "delete what nobody imports").toEqual([]);
  });

  test("never lead from the program to its tests or tools", () => {
    const outside = sources.flatMap(({ path, imports }) =>
      imports.filter((target) => /^(test|appliance)\//.test(target)).map(() => path),
    );
    expect(outside, "move what the program needs into src").toEqual([]);
  });
});

describe("sizes", () => {
  test("files stay small, or say why not: long on purpose, then the reason", () => {
    const long = texts
      .filter(({ text }) => !/(\/\/|--|\*) Long on purpose: \S/i.test(text))
      .map(({ path, text }) => ({ path, lines: text.trimEnd().split("\n").length }))
      .filter(({ path, lines }) => lines > (path.startsWith("test/") ? TEST_LINES_MAX : LINES_MAX))
      .map(({ path, lines }) => `${path}: ${lines} lines; look for a second noun`);
    expect(long).toEqual([]);
  });

  test(`lines fit ${COLUMNS_MAX} columns`, () => {
    const wide = texts.flatMap(({ path, text }) =>
      text.split("\n").flatMap((line, index) =>
        // Neither an address nor an import can be broken.
        line.length > COLUMNS_MAX && !/https?:\/\/\S{40,}|^import /.test(line)
          ? [`${path}:${index + 1}: ${line.length} columns; break the line`]
          : [],
      ),
    );
    expect(wide).toEqual([]);
  });
});

describe("names", () => {
  const bannedWords = /(^|[-.])(utils?|helpers?|common|misc|lib|managers?|services?)([-.]|$)/;
  const bannedFiles = /^(types|interfaces|globals|index)\.tsx?$/;
  /** Kebab-case; migrations have a number and underscores. */
  const isSpelt = (part: string) => /^([a-z0-9]+([-.][a-z0-9]+)*|\d{4}_\w+\.sql)$/.test(part);

  test("say what is inside", () => {
    const vague = texts.flatMap(({ path }) =>
      path
        .split("/")
        .filter((part) => bannedWords.test(part) || bannedFiles.test(part) || !isSpelt(part))
        .map((part) => `${path}: "${part}": find the noun or the verb, in kebab-case`),
    );
    expect(vague).toEqual([]);
  });

  test("do not repeat across the server's folders, but for queries.ts and routes.ts", () => {
    const names = new Map<string, string[]>();
    for (const { path } of sources.filter((file) => !file.path.startsWith("src/dashboard/"))) {
      const name = path.slice(path.lastIndexOf("/") + 1);
      names.set(name, [...(names.get(name) ?? []), path]);
    }
    const repeated = [...names.entries()]
      .filter(([name, paths]) => paths.length > 1 && !["queries.ts", "routes.ts"].includes(name))
      .map(([, paths]) => `${paths.join(" and ")}: one name, one idea; rename one`);
    expect(repeated).toEqual([]);
  });
});

type BannedCall = {
  call: RegExp;
  /** Where the rule holds; the whole program by default. */
  where?: RegExp;
  except?: RegExp;
  instead: string;
};

const serverCode = /^src\/(?!dashboard\/browser\/)/;

const bannedCalls: readonly BannedCall[] = [
  {
    call: /(?<!")\b(process|Bun)\.env\b(?!(\.|\[")SPENDRA_BUILD_)/g,
    where: serverCode,
    except: /^src\/config\.ts$/,
    instead: "read it in src/config.ts and pass it down",
  },
  {
    call: /\bconsole\./g,
    where: /^src\//,
    except: /^src\/cli\//,
    instead: "write an event with src/log.ts",
  },
  {
    call: /\bDate\.now\(|\bnew Date\(\s*\)/g,
    where: serverCode,
    except: /^src\/clock\.ts$/,
    instead: "take a Clock from src/clock.ts, or the instant as a parameter",
  },
  { call: /\bMath\.random\(/g, instead: "use src/id.ts or crypto.getRandomValues" },
  {
    call: /\bparseFloat\(|\bNumber\([^)]*NanoUsd|\bNanoUsd\w*\.toFixed\(/g,
    where: serverCode,
    except: /^src\/money\.ts$/,
    instead: "parse, round and print money in src/money.ts only",
  },
  {
    call: /\.unsafe\(/g,
    where: /^src\//,
    except: /^src\/database\//,
    instead: "write the statement as a template with parameters",
  },
  {
    call: /\b(test|describe|it)\.(skip|only|todo)\(|\b(fit|xit|xtest|xdescribe)\(/g,
    where: /^test\//,
    instead: "make the test pass, or delete it",
  },
  {
    call: /\bBun\.sleep\(/g,
    where: /\.test\.ts$/,
    instead: "wait for an event, or move the clock",
  },
  {
    call: /\bnode:(dgram|vm)\b|\beval\(|\bnew Function\(/g,
    where: /^src\//,
    instead: "leave it out: it does not work in the hardened unit",
  },
];

describe("calls", () => {
  test("with a better way are not made", () => {
    const violations = bannedCalls.flatMap(({ call, where, except, instead }) =>
      programs
        .filter(({ path }) => (where?.test(path) ?? true) && !except?.test(path))
        .flatMap(({ path, code }) =>
          [...code.matchAll(call)].map(
            (match) => `${path}:${lineAt(code, match.index)}: ${match[0]}: ${instead}`,
          ),
        ),
    );
    expect(violations).toEqual([]);
  });

  test("leave no notes to self", () => {
    // Written apart so that this file does not find itself.
    const notes = new RegExp(["TO" + "DO", "FIX" + "ME", "@ts-" + "ignore"].join("|"), "g");
    const found = texts.flatMap(({ path, text }) =>
      [...text.matchAll(notes)].map(
        (match) => `${path}:${lineAt(text, match.index)}: ${match[0]}: do it, or open an issue`,
      ),
    );
    expect(found).toEqual([]);
  });
});

describe("lists that must agree", () => {
  test("the migrations folder and src/database/migration-files.ts", () => {
    const folder = readSourceFiles("migrations/*.sql").map(({ path }) => path.split("/")[1] ?? "");
    expect(migrationFiles.map(({ name }) => name)).toEqual(folder);
    const numbers = folder.map((name) => name.slice(0, 4));
    expect(numbers).toEqual(folder.map((_, index) => `${index + 1}`.padStart(4, "0")));
  });

  test("the migrations and their text", () => {
    for (const { name, sql } of migrationFiles) {
      expect(sql, `${name} is imported under another name`).toBe(
        readRootFile(`migrations/${name}`),
      );
    }
  });

  test("src/errors.ts and docs/reference/errors.md", () => {
    const documented = firstColumnNames(readRootFile("docs/reference/errors.md"));
    expect(documented).toEqual(Object.keys(errorCatalogue).sort());
  });

  test("src/config.ts and docs/reference/configuration.md", () => {
    const documented = firstColumnNames(readRootFile("docs/reference/configuration.md"));
    expect(documented).toEqual([...configurationNames].sort());
  });
});

describe("dependencies", () => {
  const { dependencies, devDependencies, optionalDependencies } = packageJson;
  const wanted = { ...dependencies, ...optionalDependencies, ...devDependencies };

  test("have exact versions", () => {
    const loose = Object.entries(wanted)
      .filter(([, version]) => !/^(npm:@[\w/-]+@)?\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))
      .map(([name, version]) => `${name}@${version}: install it with --save-exact`);
    expect(loose).toEqual([]);
  });

  test("are those of package-lock.json", () => {
    const locked = packageLock.packages[""];
    expect({
      ...locked.dependencies,
      ...locked.optionalDependencies,
      ...locked.devDependencies,
    }).toEqual(wanted);
  });

  test("are locked for every platform, and without a registry's address", () => {
    type Locked = {
      version?: string;
      resolved?: string;
      optionalDependencies?: Record<string, string>;
    };
    const packages: Record<string, Locked> = packageLock.packages;
    const missing = Object.values(packages).flatMap((entry) =>
      Object.keys(entry.optionalDependencies ?? {}).filter(
        (name) => packages[`node_modules/${name}`] === undefined,
      ),
    );
    expect(missing, "npm ci refuses a lockfile that lacks these").toEqual([]);
    const addresses = Object.values(packages).filter((entry) => entry.resolved !== undefined);
    expect(addresses, "each machine uses its own registry: see .npmrc").toEqual([]);
  });
});
