/** Reads the repository's own files for the house rules of `tidy.test.ts`, and judges nothing. */

import { readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

const root = join(import.meta.dir, "..");

export type SourceFile = {
  /** From the repository's root, with slashes. */
  path: string;
  text: string;
  /** `text` with every comment blanked, lines kept: what the compiler sees. */
  code: string;
  /** Paths of the repository's files that it imports; packages are left out. */
  imports: string[];
};

/** All files that match, sorted by path. */
export function readSourceFiles(pattern: string): SourceFile[] {
  const paths = [...new Bun.Glob(pattern).scanSync({ cwd: root })].sort();
  return paths.map((path) => {
    const text = readFileSync(join(root, path), "utf8");
    const code = /\.(ts|tsx)$/.test(path) ? blankComments(text) : text;
    return { path, text, code, imports: findImports(path, code) };
  });
}

export function readRootFile(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

/** The names in the first column of a Markdown document's tables, where they stand in backticks. */
export function firstColumnNames(markdown: string): string[] {
  return [...markdown.matchAll(/^\|\s*`([^`]+)`/gm)].map((match) => match[1] ?? "").sort();
}

/** 1-based line of a position. */
export function lineAt(text: string, position: number): number {
  return text.slice(0, position).split("\n").length;
}

const importPatterns: Record<string, RegExp> = {
  ts: /\b(?:import|export)\b[^;"'`]*?\bfrom\s*"([^"]+)"|\bimport\s*\(?\s*"([^"]+)"/g,
  css: /@import\s+(?:url\()?"([^"]+)"/g,
  html: /\b(?:src|href)="(\.[^"]+)"/g,
};

function findImports(path: string, code: string): string[] {
  const extension = path.slice(path.lastIndexOf(".") + 1);
  const pattern = importPatterns[extension === "tsx" ? "ts" : extension];
  if (pattern === undefined) return [];
  const specifiers = [...code.matchAll(pattern)].map((match) => match[1] ?? match[2] ?? "");
  const local = specifiers.filter((specifier) => specifier.startsWith("."));
  return local.map((specifier) => relative(root, join(root, dirname(path), specifier)));
}

/**
 * A light scanner: it knows comments, strings and templates, not regular expressions. A quote in
 * one of those ends at the line's end, so the harm stays on its line.
 */
function blankComments(text: string): string {
  const tokens =
    /\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`/g;
  return text.replace(tokens, (token) =>
    token.startsWith("//") || token.startsWith("/*") ? token.replace(/[^\n]/g, " ") : token,
  );
}
