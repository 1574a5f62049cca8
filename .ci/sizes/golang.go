package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
)

// goFunctions answers the functions and methods of a Go file. Literals count
// for the function around them, but their signatures are judged too.
func goFunctions(name string, text []byte) ([]function, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, text, 0)
	if err != nil {
		return nil, err
	}
	test := strings.HasSuffix(name, "_test.go")
	var found []function
	ast.Inspect(file, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.FuncDecl:
			f := signature(n.Name.Name, n.Type)
			f.line = set.Position(n.Pos()).Line
			f.length = lines(set, n)
			if test && n.Body != nil {
				f.length -= tableLines(set, n.Body)
			}
			found = append(found, f)
		case *ast.FuncLit:
			f := signature("func literal", n.Type)
			f.line = set.Position(n.Pos()).Line
			found = append(found, f)
		}
		return true
	})
	return found, nil
}

func signature(name string, typ *ast.FuncType) function {
	parameters, bools := count(typ.Params)
	_, results := count(typ.Results)
	return function{name: name, parameters: parameters, bools: max(bools, results)}
}

// count answers how many values a field list has, and how many are bare bools.
func count(list *ast.FieldList) (all, bools int) {
	if list == nil {
		return 0, 0
	}
	for _, field := range list.List {
		n := max(1, len(field.Names))
		all += n
		if id, ok := field.Type.(*ast.Ident); ok && id.Name == "bool" {
			bools += n
		}
	}
	return all, bools
}

func lines(set *token.FileSet, n ast.Node) int {
	return set.Position(n.End()).Line - set.Position(n.Pos()).Line + 1
}

// tableLines counts the lines of a body that are composite literals: the table
// of a test is data, and long tables are good.
func tableLines(set *token.FileSet, body *ast.BlockStmt) int {
	total := 0
	ast.Inspect(body, func(node ast.Node) bool {
		if literal, ok := node.(*ast.CompositeLit); ok {
			total += lines(set, literal) - 1
			return false
		}
		return true
	})
	return total
}
