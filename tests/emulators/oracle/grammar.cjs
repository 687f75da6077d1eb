// Reads statements of Oracle's SQL by the grammar in the package antlr4ts-sql: a JSON string a line comes in, null or
// what the grammar says goes out. The package's folder is the first argument.
'use strict';
const { createRequire } = require('module');
const from = createRequire(process.argv[2] + '/package.json');
const { antlr4tsSQL } = from('antlr4ts-sql/dist/src/antlr4tsSQL');
const { SQLDialect } = from('antlr4ts-sql/dist/src/models/SQLDialect');

function refusal(sql) {
  let found = null;
  const listener = { syntaxError: (r, o, line, column, message) => { found = found || message; } };
  const reader = new antlr4tsSQL(SQLDialect.PLSQL);
  try {
    const parser = reader.getParser(reader.getTokens(/;\s*$/.test(sql) ? sql : sql + ';', [listener]), [listener]);
    parser.sql_script();
  } catch (error) {
    return String(error && error.message || error);
  }
  return found;
}

require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
  process.stdout.write(JSON.stringify(refusal(JSON.parse(line))) + '\n');
});
